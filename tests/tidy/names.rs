//! Names that say nothing are found by their look.
//! **Owns:** the list of such names. **Never:** the glossary as a whole: a reader holds that.

use syn::{spanned::Spanned, visit::Visit};

use crate::{finding::Finding, sources::Source};

const EMPTY_MODULES: &[&str] = &["util", "utils", "common", "helpers", "helper", "misc"];
const EMPTY_TYPES: &[&str] = &["Manager", "Helper", "Util", "Utils"];

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut names = Names { source, findings: Vec::new() };
    names.visit_file(&source.file);
    let stem = source.name().trim_end_matches(".rs");
    if EMPTY_MODULES.contains(&stem) {
        names.report(1, format!("a file named {stem}"), "name it for its duty");
    }
    names.findings
}

struct Names<'a> {
    source: &'a Source,
    findings: Vec<Finding>,
}

impl Names<'_> {
    fn report(&mut self, line: usize, found: String, hint: &str) {
        let file = self.source.path.clone();
        self.findings.push(Finding { file, line, check: "name", found, hint: hint.to_owned() });
    }

    fn function(&mut self, name: &syn::Ident) {
        if name.to_string().starts_with("get_") {
            self.report(name.span().start().line, format!("fn {name}"), "drop the get_");
        }
    }

    fn kind(&mut self, name: &syn::Ident) {
        let text = name.to_string();
        if EMPTY_TYPES.iter().any(|word| text.ends_with(word)) {
            self.report(name.span().start().line, text, "name it for what it is or owns");
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident);
        syn::visit::visit_item_fn(self, item);
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident);
        syn::visit::visit_impl_item_fn(self, item);
    }
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.kind(&item.ident);
    }
    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.kind(&item.ident);
    }
    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.kind(&item.ident);
        syn::visit::visit_item_trait(self, item);
    }
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if EMPTY_MODULES.contains(&item.ident.to_string().as_str()) {
            self.report(item.span().start().line, format!("mod {}", item.ident), "name it for its duty");
        }
        syn::visit::visit_item_mod(self, item);
    }
}
