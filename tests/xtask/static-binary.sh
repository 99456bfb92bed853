#!/bin/sh
# Stands for rustc where cargo builds an image's binary (RUSTC_WORKSPACE_WRAPPER). The binary is linked statically and stripped;
# our libraries are compiled as ever, and those of others never come by here, so that they aren't built a second time.
case " $* " in
*" --crate-name postrider_"*" --crate-type bin "*) exec "$@" -C target-feature=+crt-static -C strip=symbols ;;
*) exec "$@" ;;
esac
