//! `oci-mig-hook`: parses, dispatches, and turns the outcome into a line and an exit code.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use oci_mig_hook::cli::{CdiArgs, Cli, Command, PrecreateArgs, ReleaseArgs, SetupEngine, StageArgs};
use oci_mig_hook::failure::{Exit, Failure};
use oci_mig_hook::host::nvml;
use oci_mig_hook::operator::{Cdi, DEFAULT_OUTPUT, Engine, Release, Setup, Which};
use oci_mig_hook::stage::{self, Options, Stage, Voice};
use oci_mig_hook::{operator, report};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = nvml::asked(&args) {
        return code;
    }
    let outcome = match hook_entry(&args) {
        Some((stage, options)) => run_stage(stage, &options),
        None => match Cli::try_parse() {
            Ok(cli) => run(cli),
            Err(error) => return usage(&error, is_hook_entry(&args)),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failure = error
                .downcast()
                .unwrap_or_else(|other| Failure::host("failed", format!("{other:#}")));
            match is_hook_entry(&args) {
                true => report::to_engine(&failure),
                false => report::to_person(&failure),
            }
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// The arguments of a hook entry, as engines repeat them for every container. They never meet the command line's
/// parser: a container that didn't ask pays one process start.
fn hook_entry(args: &[OsString]) -> Option<(Stage, Options)> {
    let mut words = args.iter().map(|arg| arg.to_str());
    let stage = Stage::from_word(words.next()??)?;
    let rest: Vec<&str> = words.collect::<Option<_>>()?;
    Some((stage, Options::from_hook_arguments(rest.into_iter())?))
}

fn run_stage(stage: Stage, options: &Options) -> anyhow::Result<()> {
    let voice = Voice {
        warn: &report::warning_to_engine,
        wait: &report::waiting_to_engine,
    };
    Ok(stage::run(stage, options, voice)?)
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let options = |args: StageArgs| Options {
        config: cli.config.clone(),
        devices: args.devices,
        guard: false,
    };
    match cli.command {
        Command::Status(args) => operator::status(cli.config.as_deref(), args.json),
        Command::Refresh(args) => operator::refresh(cli.config.as_deref(), args.json),
        Command::Gc(args) => operator::gc(cli.config.as_deref(), args.dry_run, args.json),
        Command::Release(args) => operator::release(&release(args, cli.config)),
        Command::Precreate(PrecreateArgs { stage, guard }) => {
            let options = Options {
                guard,
                ..options(stage)
            };
            run_stage(Stage::Precreate, &options)
        }
        Command::CreateRuntime(args) => run_stage(Stage::CreateRuntime, &options(args)),
        Command::Prestart(args) => run_stage(Stage::Prestart, &options(args)),
        Command::Poststop(args) => run_stage(Stage::Poststop, &options(args)),
        Command::Setup { engine } => operator::setup(&setup(engine, cli.config.clone())),
        Command::Cdi(args) => operator::cdi(&cdi(args, cli.config)),
        Command::Completions { shell } => operator::completions(shell, &mut Cli::command()),
    }
}

fn release(args: ReleaseArgs, config: Option<PathBuf>) -> Release {
    Release {
        which: args.name.map_or(Which::Unreadable, Which::Named),
        force: args.force,
        json: args.json,
        config,
    }
}

fn cdi(args: CdiArgs, config: Option<PathBuf>) -> Cdi {
    let output = args.output.unwrap_or_else(|| DEFAULT_OUTPUT.into());
    Cdi {
        output: (output.as_os_str() != "-").then_some(output),
        check: args.check,
        version: args.cdi_version,
        capabilities: args.driver_capabilities,
        config,
    }
}

/// What was typed, as what is meant.
fn setup(engine: SetupEngine, config: Option<PathBuf>) -> Setup {
    let (args, engine) = match engine {
        SetupEngine::Docker(args) => (args.setup, Engine::Docker(args.runtime_path)),
        SetupEngine::Containerd(args) => (args.setup, Engine::Containerd(args.runtime_path)),
        SetupEngine::Crio(args) => (args.setup, Engine::Crio(args.runtime_path)),
        SetupEngine::Podman(args) => (args.setup, Engine::Podman(args.hooks_dir, args.guard)),
    };
    Setup {
        engine,
        undo: args.undo,
        dry_run: args.dry_run,
        json: args.json,
        engine_config: args.engine_config,
        config,
    }
}

/// Whether an engine called: its hook entries name a stage, wherever its options stand.
fn is_hook_entry(args: &[OsString]) -> bool {
    args.iter()
        .any(|arg| arg.to_str().is_some_and(|word| Stage::from_word(word).is_some()))
}

/// clap's own message, in this program's exit codes: help and version are no errors.
fn usage(error: &clap::Error, is_hook_entry: bool) -> ExitCode {
    if is_hook_entry && error.use_stderr() {
        // What it says doesn't matter any more; that it is read does.
        let _ = stage::read_document();
        let message = error.to_string();
        let why = message.lines().next().unwrap_or_default();
        let why = why.strip_prefix("error: ").unwrap_or(why);
        let failure = Failure::usage("this hook entry is wrong", why).remedy("see 'oci-mig-hook --help'");
        report::to_engine(&failure);
        return ExitCode::from(failure.exit() as u8);
    }
    // Where even this can't be printed there is nobody to read it.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(Exit::Usage as u8)
    } else {
        ExitCode::SUCCESS
    }
}
