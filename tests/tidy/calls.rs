//! Calls that pure code may not make, and those that only one file may.
//! **Owns:** the lists of them. **Never:** looks at tests, which may do all of it.

use proc_macro2::{TokenStream, TokenTree};
use syn::{spanned::Spanned, visit::Visit};

use crate::{
    finding::Finding,
    sources::{self, Source},
};

/// Decisions and state machines: no I/O, no clock, nothing to wait for.
const PURE: &[&str] = &["relay/mail/src", "relay/smtp/src", "relay/core/src", "crds/src"];

/// Path ends that pure code may not name, and what to do.
const IMPURE_PATHS: &[(&[&str], &str)] = &[
    (&["SystemTime", "now"], "take the time as a value"),
    (&["Instant", "now"], "take the time as a value"),
    (&["std", "fs"], "take the text as a value; the shell reads files"),
    (&["std", "env"], "take it as a value; the shell reads the environment"),
    (&["std", "net", "TcpStream"], "leave sockets to the shell"),
    (&["std", "net", "TcpListener"], "leave sockets to the shell"),
    (&["std", "net", "UdpSocket"], "leave sockets to the shell"),
    (&["std", "thread"], "leave threads to the shell"),
];

/// Calls that no file makes but those named here.
const SOLE_OWNERS: &[(&str, &[&str], &str)] = &[
    ("spawn", &["relay/src/app.rs", "operator/src/app.rs"], "return the future; app.rs spawns"),
    ("unbounded_channel", &[], "use a bounded channel with a named bound"),
    ("unbounded", &[], "use a bounded channel with a named bound"),
];

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    if source.is_test() {
        return Vec::new();
    }
    let is_pure = PURE.iter().any(|folder| source.path.starts_with(folder));
    let mut calls = Calls { source, is_pure, findings: Vec::new() };
    calls.visit_file(&source.file);
    calls.findings
}

struct Calls<'a> {
    source: &'a Source,
    is_pure: bool,
    findings: Vec<Finding>,
}

impl Calls<'_> {
    fn report(&mut self, line: usize, found: &str, hint: &str) {
        let (file, found, hint) = (self.source.path.clone(), found.to_owned(), hint.to_owned());
        self.findings.push(Finding { file, line, check: "call", found, hint });
    }

    fn path(&mut self, line: usize, segments: &[String]) {
        let names: Vec<&str> = segments.iter().map(String::as_str).collect();
        if self.is_pure {
            for (banned, hint) in IMPURE_PATHS {
                if names.windows(banned.len()).any(|window| window == *banned) {
                    self.report(line, &banned.join("::"), hint);
                }
            }
        }
        if names.windows(2).any(|window| window == ["process", "exit"]) {
            self.report(line, "process::exit", "return an ExitCode");
        }
    }

    fn call(&mut self, line: usize, name: &str) {
        for (banned, owners, hint) in SOLE_OWNERS {
            if name == *banned && !owners.contains(&self.source.path.as_str()) {
                self.report(line, banned, hint);
            }
        }
    }

    fn awaits(&mut self, line: usize) {
        if self.is_pure {
            self.report(line, ".await", "return what is to be done; the shell waits");
        }
    }

    /// Macros hold tokens that no visitor sees: `select!` above all.
    fn tokens(&mut self, tokens: TokenStream) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, tree) in trees.iter().enumerate() {
            match tree {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) => {
                    let (line, text) = (ident.span().start().line, ident.to_string());
                    let is_called = matches!(trees.get(at + 1), Some(TokenTree::Group(_)));
                    if text == "await" {
                        self.awaits(line);
                    } else if is_called {
                        self.call(line, &text);
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    fn use_tree(&mut self, tree: &syn::UseTree, before: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.use_tree(&path.tree, before);
                before.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.use_tree(item, before)),
            syn::UseTree::Name(name) => self.used(name.span().start().line, before, &name.ident),
            syn::UseTree::Rename(name) => self.used(name.span().start().line, before, &name.ident),
            syn::UseTree::Glob(glob) => self.path(glob.span().start().line, before),
        }
    }

    fn used(&mut self, line: usize, before: &[String], last: &syn::Ident) {
        let mut whole = before.to_vec();
        whole.push(last.to_string());
        self.path(line, &whole);
    }
}

impl<'ast> Visit<'ast> for Calls<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attrs = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => return syn::visit::visit_item(self, item),
        };
        if !sources::is_test_only(attrs) {
            syn::visit::visit_item(self, item);
        }
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !sources::is_test_only(&item.attrs) {
            syn::visit::visit_impl_item_fn(self, item);
        }
    }
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&item.tree, &mut Vec::new());
    }
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(path.span().start().line, &segments);
        syn::visit::visit_path(self, path);
    }
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(path) = &*call.func
            && let Some(last) = path.path.segments.last()
        {
            self.call(call.span().start().line, &last.ident.to_string());
        }
        syn::visit::visit_expr_call(self, call);
    }
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.call(call.method.span().start().line, &call.method.to_string());
        syn::visit::visit_expr_method_call(self, call);
    }
    fn visit_expr_await(&mut self, expr: &'ast syn::ExprAwait) {
        self.awaits(expr.await_token.span().start().line);
        syn::visit::visit_expr_await(self, expr);
    }
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.tokens(item.tokens.clone());
    }
}
