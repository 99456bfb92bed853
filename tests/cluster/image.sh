#!/usr/bin/env bash
# Writes to stdout a docker-archive of an image of these programs, for `ctr -n k8s.io images import -`. Nothing else is
# in it, but the libraries that a program asks for.
#
#   image.sh NAME:TAG FILE[=PATH]...      the first is what runs; PATH is where it lies in the image, /FILE unless given;
#                                         a .c file is built to a static program
set -euo pipefail

name=$1
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
root=$dir/root
mkdir -p "$root/tmp"
chmod 1777 "$root/tmp"

entrypoint=''
for file; do
  source=${file%%=*}
  path=/$(basename "${source%.c}")
  [[ $file != *=* ]] || path=${file#*=}
  entrypoint=${entrypoint:-$path}
  mkdir -p "$(dirname "$root$path")"
  if [[ $source == *.c ]]; then
    gcc -static -O2 -Wall -Wextra -o "$root$path" "$source"
  else
    install -m 755 "$source" "$root$path"
    # For a static program ldd fails; else a line is "NAME => FILE (ADDRESS)" or the loader's "FILE (ADDRESS)".
    { ldd "$source" 2>/dev/null || true; } | sed -n 's|^[^/]*\(/[^ ]*\) (.*|\1|p' | while read -r library; do
      install -D -m 755 "$library" "$root$library"
    done
  fi
done

# The same bytes for the same files, so that importing again changes nothing.
tar=(tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0)
"${tar[@]}" -C "$root" -cf "$dir/layer.tar" .
layer=$(sha256sum "$dir/layer.tar" | cut -d' ' -f1)
case $(uname -m) in x86_64) architecture=amd64 ;; aarch64) architecture=arm64 ;; *) architecture=$(uname -m) ;; esac
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
echo "{\"architecture\":\"$architecture\",\"os\":\"linux\",\"config\":{\"Entrypoint\":[\"$entrypoint\"],\"Env\":[\"PATH=$path\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$layer\"]}}" >"$dir/config.json"
echo "[{\"Config\":\"config.json\",\"RepoTags\":[\"$name\"],\"Layers\":[\"layer.tar\"]}]" >"$dir/manifest.json"
"${tar[@]}" -C "$dir" -cf - config.json layer.tar manifest.json
