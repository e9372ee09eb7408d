//! Reads Rust source into what the rules judge: every path it names, resolved from the crate's root. It works on
//! tokens, so comments and strings are out, and what stands in a macro call or definition is in.

use std::iter::once;

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// What one file says.
#[derive(Debug, Default)]
pub struct Reading {
    /// Every path named, with its line: `["crate", "lease", "Lease"]`, `["std", "fs"]`, `["crate", "mig", "*"]`.
    pub paths: Vec<(Vec<String>, usize)>,
    /// Every name after a dot, with its line.
    pub methods: Vec<(String, usize)>,
    /// Every module declared, inline or as a file, with its line.
    pub modules: Vec<(String, usize)>,
    /// Modules in files of their own that only tests compile, from the root.
    pub test_modules: Vec<Vec<String>>,
    /// Lines that say `unsafe`.
    pub unsafe_lines: Vec<usize>,
    /// Lines with a `#[path = ...]` attribute.
    pub path_attributes: Vec<usize>,
    /// Whether the file opens with `#![forbid(unsafe_code)]`.
    pub forbids_unsafe: bool,
}

/// Reads the source of the module at `module` (its path from the root, empty for lib.rs).
pub fn read(source: &str, module: &[String]) -> Result<Reading, String> {
    let tokens: TokenStream = source.parse().map_err(|error| format!("not Rust: {error}"))?;
    let mut reading = Reading::default();
    reading.walk(tokens, module);
    Ok(reading)
}

impl Reading {
    fn walk(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = self.step(&tokens, at, module);
        }
    }

    /// Reads what begins at `at`, and says where the next begins.
    fn step(&mut self, tokens: &[TokenTree], at: usize, module: &[String]) -> usize {
        if let Some((attribute, after)) = attribute(tokens, at) {
            self.attribute(&attribute);
            self.walk(attribute.stream(), module);
            let skipped = is_test(&attribute).then(|| self.test_item(tokens, after, module));
            return skipped.flatten().unwrap_or(after);
        }
        match &tokens[at] {
            TokenTree::Group(group) => self.walk(group.stream(), module),
            TokenTree::Ident(word) if word == "use" => return self.use_item(tokens, at + 1, module),
            TokenTree::Ident(word) if word == "mod" => return self.mod_item(tokens, at + 1, module),
            TokenTree::Ident(word) if word == "unsafe" => self.unsafe_lines.push(line(word)),
            TokenTree::Ident(word) if is_extern_crate(tokens, at) => {
                self.paths.push((vec![word.to_string()], line(word)));
            }
            TokenTree::Ident(word) if is_colons(tokens, at + 1) => {
                return self.path(tokens, at, word, module);
            }
            TokenTree::Ident(word) if at > 0 && is_punct(&tokens[at - 1], '.') => {
                self.methods.push((word.to_string(), line(word)));
            }
            _ => {}
        }
        at + 1
    }

    fn attribute(&mut self, attribute: &Group) {
        let text = compact(attribute);
        self.forbids_unsafe |= text == "[forbid(unsafe_code)]";
        if text.starts_with("[path=") {
            self.path_attributes.push(attribute.span().start().line);
        }
    }

    /// Steps over a module, function, impl or import that only tests compile. Anything else is read as usual.
    fn test_item(&mut self, tokens: &[TokenTree], mut at: usize, module: &[String]) -> Option<usize> {
        while let Some((_, after)) = attribute(tokens, at) {
            at = after;
        }
        let keyword = tokens[at..].iter().find_map(|token| match token {
            TokenTree::Ident(word) if word != "pub" => Some(word.to_string()),
            _ => None,
        })?;
        if !["mod", "use", "fn", "impl"].contains(&keyword.as_str()) {
            return None;
        }
        let end = at
            + tokens[at..]
                .iter()
                .position(|token| is_punct(token, ';') || is_braces(token))?;
        if keyword == "mod" && is_punct(&tokens[end], ';') {
            let name = tokens[end - 1].to_string();
            self.test_modules
                .push(module.iter().cloned().chain(once(name)).collect());
        }
        Some(end + 1)
    }

    fn mod_item(&mut self, tokens: &[TokenTree], at: usize, module: &[String]) -> usize {
        let Some(TokenTree::Ident(name)) = tokens.get(at) else {
            return at;
        };
        self.modules.push((name.to_string(), line(name)));
        if let Some(TokenTree::Group(body)) = tokens.get(at + 1) {
            let inner: Vec<String> = module.iter().cloned().chain(once(name.to_string())).collect();
            self.walk(body.stream(), &inner);
            return at + 2;
        }
        at + 1
    }

    /// A `use`, up to its semicolon. (`impl Trait + use<'a>` is none.)
    fn use_item(&mut self, tokens: &[TokenTree], at: usize, module: &[String]) -> usize {
        let imports = match tokens.get(at) {
            Some(TokenTree::Ident(_)) | Some(TokenTree::Group(_)) => true,
            _ => is_colons(tokens, at),
        };
        if !imports {
            return at;
        }
        let length = tokens[at..].iter().position(|token| is_punct(token, ';'));
        let end = length.map_or(tokens.len(), |length| at + length);
        self.use_tree(&[], &tokens[at..end], module);
        end
    }

    fn use_tree(&mut self, prefix: &[String], tree: &[TokenTree], module: &[String]) {
        let mut path = prefix.to_vec();
        let mut last = 0;
        for token in tree {
            last = token.span().start().line;
            match token {
                TokenTree::Ident(word) if word == "as" => break,
                TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Group(branches) => {
                    let branches: Vec<TokenTree> = branches.stream().into_iter().collect();
                    for branch in branches.split(|token| is_punct(token, ',')) {
                        self.use_tree(&path, branch, module);
                    }
                    return;
                }
                token if is_punct(token, '*') => path.push("*".to_owned()),
                _ => {}
            }
        }
        if !path.is_empty() && !tree.is_empty() {
            self.paths.push((resolve(path, module), last));
        }
    }

    /// A path in code: `crate::lease::Lease`, as far as its names go.
    fn path(&mut self, tokens: &[TokenTree], at: usize, first: &Ident, module: &[String]) -> usize {
        let mut path = vec![first.to_string()];
        let mut next = at + 1;
        while let (true, Some(TokenTree::Ident(word))) = (is_colons(tokens, next), tokens.get(next + 2)) {
            path.push(word.to_string());
            next += 3;
        }
        self.paths.push((resolve(path, module), line(first)));
        next
    }
}

/// `path` as seen from the root: `crate` and the library's own name become `crate`, `self` and `super` what they
/// stand for in `module`.
fn resolve(path: Vec<String>, module: &[String]) -> Vec<String> {
    let from_root = |base: &[String], rest: &[String]| {
        let root = once("crate".to_owned());
        root.chain(base.iter().cloned())
            .chain(rest.iter().cloned())
            .collect()
    };
    match path[0].as_str() {
        "crate" | "oci_mig_hook" => from_root(&[], &path[1..]),
        "self" | "super" => {
            let rest = path
                .iter()
                .position(|word| word != "super" && word != "self")
                .unwrap_or(path.len());
            let up = path[..rest].iter().filter(|word| *word == "super").count();
            from_root(&module[..module.len().saturating_sub(up)], &path[rest..])
        }
        _ => path,
    }
}

/// The attribute that begins at `at`, and where what follows it begins.
fn attribute(tokens: &[TokenTree], at: usize) -> Option<(Group, usize)> {
    tokens.get(at).filter(|token| is_punct(token, '#'))?;
    let inner = usize::from(tokens.get(at + 1).is_some_and(|token| is_punct(token, '!')));
    match tokens.get(at + 1 + inner)? {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
            Some((group.clone(), at + 2 + inner))
        }
        _ => None,
    }
}

fn is_test(attribute: &Group) -> bool {
    compact(attribute) == "[cfg(test)]"
}

fn compact(group: &Group) -> String {
    group.to_string().split_whitespace().collect()
}

fn is_extern_crate(tokens: &[TokenTree], at: usize) -> bool {
    let is = |back: usize, word: &str| at >= back && tokens[at - back].to_string() == word;
    is(1, "crate") && is(2, "extern")
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| tokens.get(at).is_some_and(|token| is_punct(token, ':'));
    colon(at) && colon(at + 1)
}

fn is_punct(token: &TokenTree, c: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == c)
}

fn is_braces(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn line(word: &Ident) -> usize {
    word.span().start().line
}
