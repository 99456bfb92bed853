//! Functions and files stay small enough to be read.
//! **Owns:** the limits, and the figures that are printed. **Never:** counts tests among the functions.

use syn::{spanned::Spanned, visit::Visit};

use crate::{
    finding::Finding,
    sources::{self, Source},
};

/// Above it a function says why it is long.
const LONG_FUNCTION: usize = 70;
const MAX_FUNCTION: usize = 120;
/// Above it a file is warned of.
const LONG_FILE: usize = 400;
const MAX_FILE: usize = 600;
/// Tests longer than this move to a file of their own.
const LONG_TESTS: usize = 150;
/// More parameters than this are a struct.
const MANY_PARAMETERS: usize = 5;

const EXCUSE: &str = "// Long on purpose:";

struct Function {
    name: String,
    line: usize,
    lines: usize,
    parameters: usize,
    has_excuse: bool,
}

pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let finding = |line, found, hint: &str| Finding {
        file: source.path.clone(),
        line,
        check: "size",
        found,
        hint: hint.to_owned(),
    };
    let mut findings = Vec::new();
    for function in functions(source) {
        let found = format!("fn {} of {} lines", function.name, function.lines);
        if function.lines > MAX_FUNCTION {
            findings.push(finding(function.line, found, "at most 120; cut it by duty"));
        } else if function.lines > LONG_FUNCTION && !function.has_excuse {
            findings.push(finding(
                function.line,
                found,
                "cut it by duty, or say `// Long on purpose: …` in it",
            ));
        }
    }
    if source.lines() > MAX_FILE {
        findings.push(finding(
            1,
            format!("a file of {} lines", source.lines()),
            "at most 600; cut it by duty",
        ));
    }
    findings
}

/// What isn't forbidden but wants a look.
pub(crate) fn warnings(sources: &[Source]) -> Vec<String> {
    let mut warnings = Vec::new();
    for source in sources {
        if (LONG_FILE + 1..=MAX_FILE).contains(&source.lines()) {
            warnings.push(format!("{}: {} lines, 400 is the aim", source.path, source.lines()));
        }
        for item in &source.file.items {
            if let syn::Item::Mod(module) = item
                && sources::is_test_only(&module.attrs)
                && module.content.is_some()
                && span_lines(module.span()) > LONG_TESTS
            {
                warnings.push(format!(
                    "{}: tests of {} lines, move them",
                    source.path,
                    span_lines(module.span())
                ));
            }
        }
        for function in functions(source).iter().filter(|function| function.parameters > MANY_PARAMETERS) {
            warnings.push(format!(
                "{}:{}: fn {} takes {} parameters, make it a struct",
                source.path, function.line, function.name, function.parameters
            ));
        }
    }
    warnings
}

/// Ours beside the aim: median 10, nine of ten within 40, 2 % over 70.
pub(crate) fn figures(sources: &[Source]) -> String {
    let product: Vec<&Source> = sources.iter().filter(|source| !source.is_test()).collect();
    let mut sizes: Vec<usize> =
        product.iter().flat_map(|source| functions(source)).map(|function| function.lines).collect();
    sizes.sort_unstable();
    let at = |share: usize| sizes.get(sizes.len() * share / 100).copied().unwrap_or(0);
    let long = sizes.iter().filter(|lines| **lines > LONG_FUNCTION).count();
    format!(
        "{} files, {} lines; {} functions: median {} lines, nine of ten within {}, {:.1} % over 70, longest {}",
        product.len(),
        product.iter().map(|source| source.lines()).sum::<usize>(),
        sizes.len(),
        at(50),
        at(90),
        100.0 * long as f64 / sizes.len().max(1) as f64,
        sizes.last().copied().unwrap_or(0),
    )
}

fn functions(source: &Source) -> Vec<Function> {
    if source.path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let mut functions = Functions { source, found: Vec::new() };
    functions.visit_file(&source.file);
    functions.found
}

fn span_lines(span: proc_macro2::Span) -> usize {
    span.end().line.saturating_sub(span.start().line) + 1
}

struct Functions<'a> {
    source: &'a Source,
    found: Vec<Function>,
}

impl Functions<'_> {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (start, end) = (signature.span().start().line, block.span().end().line);
        let lines = end.saturating_sub(start) + 1;
        let mut text = self.source.text.lines().skip(start.saturating_sub(2)).take(lines + 1);
        self.found.push(Function {
            name: signature.ident.to_string(),
            line: start,
            lines,
            parameters: signature.inputs.len(),
            has_excuse: text.any(|line| line.contains(EXCUSE)),
        });
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !sources::is_test_only(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !sources::is_test_only(&item.attrs) {
            self.add(&item.sig, &item.block);
            syn::visit::visit_item_fn(self, item);
        }
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !sources::is_test_only(&item.attrs) {
            self.add(&item.sig, &item.block);
            syn::visit::visit_impl_item_fn(self, item);
        }
    }
}
