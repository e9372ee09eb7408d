//! A low-level runtime's command line, as engines write it: runc's, crun's and youki's spellings alike. Only read, never
//! written anew: the real runtime gets the very words.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::options::{DELETE, GLOBAL, MAKING, SUBCOMMANDS};
use super::words::Words;

/// What an engine asks of its low-level runtime, as far as it concerns a container's devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeCall {
    /// Where the runtime keeps its containers' state (`--root`), as it was written; none where the runtime's own default
    /// holds. The same id in two of them is two containers.
    pub root: Option<PathBuf>,
    /// Where the engine reads what went wrong.
    pub log: Option<Log>,
    /// Whether its containers are to have no cgroup (crun's `--cgroup-manager=disabled`).
    pub without_cgroup: bool,
    /// What is to be done.
    pub verb: Verb,
}

/// A runtime's log (`--log`, `--log-format`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The file, as it was written.
    pub file: PathBuf,
    /// How its records look.
    pub format: LogFormat,
}

/// How the records of a runtime's log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line of text.
    Text,
    /// A JSON object on a line.
    Json,
}

/// The runtime's subcommands that make or end a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `create` and `run`: a container is made from a bundle.
    Create(Bundled),
    /// `restore`: a container is made from a checkpoint.
    Restore(Bundled),
    /// `delete`: nothing shall be left of these.
    Delete(Deleted),
    /// A container is made, and which one depends on the runtime that reads this: why.
    Unclear(&'static str),
    /// Everything else, and whatever the runtime itself will reject.
    Other,
}

/// A container that is made from a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundled {
    /// Its id.
    pub id: String,
    /// Its bundle, as it was written; where nothing was, the folder of the call.
    pub bundle: PathBuf,
    /// Its config.json, as it was written (crun's `--config`), or in the bundle.
    pub config: PathBuf,
}

/// What `delete` is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The container of this id.
    Container(String),
    /// Every container whose id matches (crun's `--regex`).
    Matching,
}

impl RuntimeCall {
    /// Reads the words after the program's name.
    pub fn parse(args: &[OsString]) -> RuntimeCall {
        let mut words = Words::new(args);
        let (global, subcommand) = words.until(GLOBAL, SUBCOMMANDS);
        let value = |name| global.value(name).map(PathBuf::from);
        let verb = match subcommand.and_then(OsStr::to_str) {
            Some("create" | "run") => making(words, Verb::Create),
            Some("restore") => making(words, Verb::Restore),
            Some("delete") => deleted(words).map_or(Verb::Other, Verb::Delete),
            _ => Verb::Other,
        };
        RuntimeCall {
            root: value("root"),
            without_cgroup: global
                .value("cgroup-manager")
                .is_some_and(|manager| manager == "disabled"),
            log: value("log").and_then(|file| log(&file, global.value("log-format"))),
            verb,
        }
    }
}

/// crun knows logs that are no files; it marks one that is by `file:`, if it likes.
fn log(written: &Path, format: Option<&OsStr>) -> Option<Log> {
    let bytes = written.as_os_str().as_bytes();
    let file = bytes.strip_prefix(b"file:").unwrap_or(bytes);
    let elsewhere = [&b"journald:"[..], b"syslog:"]
        .iter()
        .any(|kind| file.starts_with(kind));
    (!elsewhere && !file.is_empty()).then(|| Log {
        file: PathBuf::from(OsStr::from_bytes(file)),
        format: match format.and_then(OsStr::to_str) {
            Some("json") => LogFormat::Json,
            _ => LogFormat::Text,
        },
    })
}

fn making(words: Words<'_>, verb: impl FnOnce(Bundled) -> Verb) -> Verb {
    let (options, operands) = words.rest(MAKING);
    // Exactly one is right. Where an option that we don't know took a value, the id is still the last.
    let Some(id) = operands.last() else {
        return Verb::Other;
    };
    let Some(id) = id.to_str() else {
        return Verb::Unclear("a container's id is text");
    };
    let (bundle, config) = (options.value("bundle"), options.value("config"));
    let is_odd = |value: &OsStr| value.as_bytes().starts_with(b"=");
    if bundle.is_some_and(is_odd) || config.is_some_and(is_odd) {
        return Verb::Unclear("'-b=x' is the folder x to runc and '=x' to crun");
    }
    let bundle = PathBuf::from(bundle.unwrap_or(OsStr::new(".")));
    let config = match config {
        Some(written) if written != "config.json" => PathBuf::from(written),
        _ => bundle.join("config.json"),
    };
    verb(Bundled {
        id: id.to_owned(),
        bundle,
        config,
    })
}

fn deleted(words: Words<'_>) -> Option<Deleted> {
    let (options, operands) = words.rest(DELETE);
    match options.is_set("regex") {
        true => Some(Deleted::Matching),
        false => Some(Deleted::Container(operands.last()?.to_str()?.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> RuntimeCall {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        RuntimeCall::parse(&words)
    }

    fn making(id: &str, bundle: &str, config: &str) -> Bundled {
        Bundled {
            id: id.to_owned(),
            bundle: bundle.into(),
            config: config.into(),
        }
    }

    #[test]
    fn what_containerd_podman_and_people_write() {
        let call = parse(
            "--root /run/containerd/runc/default --log /b/log.json --log-format json create --bundle /b --pid-file /b/init.pid c1",
        );
        assert_eq!(call.root.unwrap(), Path::new("/run/containerd/runc/default"));
        let log = call.log.unwrap();
        assert_eq!(
            (log.file.as_path(), log.format),
            (Path::new("/b/log.json"), LogFormat::Json)
        );
        assert_eq!(call.verb, Verb::Create(making("c1", "/b", "/b/config.json")));
        let podman = parse(
            "--log-format=json --log=/b/log --cgroup-manager=disabled create --bundle=/b --pid-file=/p c2",
        );
        assert!(podman.without_cgroup);
        assert_eq!(podman.verb, Verb::Create(making("c2", "/b", "/b/config.json")));
        assert_eq!(
            parse("run c3").verb,
            Verb::Create(making("c3", ".", "./config.json"))
        );
        assert_eq!(
            parse("run -b /b -d c3").verb,
            Verb::Create(making("c3", "/b", "/b/config.json"))
        );
    }

    #[test]
    fn each_runtimes_own_spellings() {
        for line in [
            "-r /r -l /l -s create -b /b -c /s -p /p c",
            "-root /r -log /l create -bundle /b c",
            "-root=/r -log=/l create -bundle=/b c",
            "-r/r -l/l create -b/b c",
            "--root /r --log file:/l create --bundle /b -- c",
            "--root /x --root /r --log /l create --bundle /x --bundle /b c",
            "--root /r --log /l -- create --bundle /b c",
            "--roo /r --log=/l run --bund /b c",
            "--ro=/r --log=/l run --bu=/b c",
            "-sr /r -l/l run -db /b c",
        ] {
            let call = parse(line);
            assert_eq!(call.root.as_deref(), Some(Path::new("/r")), "{line}");
            assert_eq!(call.log.map(|log| log.file), Some("/l".into()), "{line}");
            assert_eq!(
                call.verb,
                Verb::Create(making("c", "/b", "/b/config.json")),
                "{line}"
            );
        }
        let crun = parse("create --config other.json -b /b c");
        assert_eq!(crun.verb, Verb::Create(making("c", "/b", "other.json")));
        for line in ["--log journald:c1 state c", "--log syslog:c1 state c", "state c"] {
            assert_eq!(parse(line).log, None, "{line}");
        }
    }

    #[test]
    fn options_that_nobody_told_us_of_are_passed_over() {
        for line in [
            "--new-flag create c",
            "--new-option value create c",
            "--new-option=create create c",
            "--debug=true --criu create create c",
            "create --new-option value c",
            "create --no-pivot --new-flag c",
        ] {
            assert!(
                matches!(parse(line).verb, Verb::Create(Bundled { id, .. }) if id == "c"),
                "{line}"
            );
        }
    }

    #[test]
    fn what_each_runtime_reads_differently_is_not_guessed() {
        for line in ["create -b=/b c", "run -b=/b c", "restore -b=/b c", "run -f=/x c"] {
            assert!(matches!(parse(line).verb, Verb::Unclear(_)), "{line}");
        }
    }

    #[test]
    fn delete_is_about_one_container_or_those_that_match() {
        let one = Verb::Delete(Deleted::Container("c".to_owned()));
        assert_eq!(parse("--root /r delete --force c").verb, one);
        assert_eq!(parse("delete c -f").verb, one);
        assert_eq!(parse("delete --regex c.*").verb, Verb::Delete(Deleted::Matching));
        assert_eq!(parse("delete -r -f c.*").verb, Verb::Delete(Deleted::Matching));
        assert_eq!(parse("delete -fr c.*").verb, Verb::Delete(Deleted::Matching));
        assert_eq!(parse("delete --regex=false c").verb, one);
    }

    #[test]
    fn everything_else_is_the_runtimes_own_affair() {
        for line in [
            "",
            "--version",
            "-v",
            "--help",
            "start c",
            "state c",
            "kill --all c 9",
            "exec --process /f c create",
            "ps c",
            "features",
            "list create",
            "create",
            "run --bundle /b",
            "delete",
            "nonsense create c",
            "exec c delete x",
        ] {
            assert_eq!(parse(line).verb, Verb::Other, "{line}");
        }
        assert!(matches!(
            parse("restore --image-path /i -b /b c").verb,
            Verb::Restore(_)
        ));
    }
}
