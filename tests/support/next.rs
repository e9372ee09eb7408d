//! The next container, on a machine whose devices are of one profile: refused while all are held, served as soon as one
//! was given back.

use super::machine::Machine;
use super::process::Outcome;

/// A machine with something on it that runs containers.
pub trait Next {
    fn machine(&self) -> &Machine;

    /// What the test is about, for whoever reads that it failed.
    fn who(&self) -> &str;

    /// Runs this script in a container that asks for one device.
    fn ask(&self, script: &str) -> Outcome;

    /// Whether the engine passes on what a hook said.
    fn passes_words_on(&self) -> bool {
        true
    }

    /// A container that asks for a device runs, has its two capabilities, and gives it back.
    #[track_caller]
    fn the_next_one_gets_it(&self) {
        let (who, taken) = (self.who(), self.machine().taken());
        let outcome = self.ask("ls /dev/nvidia-caps");
        assert!(
            outcome.status.success(),
            "{who}: not given back: {outcome}\n{taken:?}"
        );
        assert_eq!(
            outcome.stdout.matches("nvidia-cap").count(),
            2,
            "{who}: {outcome}"
        );
        self.machine().assert_free(who);
    }

    /// A container that asks for a device is refused, because each has its holder.
    #[track_caller]
    fn the_next_one_is_refused(&self) {
        let who = self.who();
        let outcome = self.ask("true");
        assert!(
            !outcome.status.success(),
            "{who}: taken from a living container: {outcome}"
        );
        let all = self.machine().devices().expect("devices").len();
        assert!(
            !self.passes_words_on() || outcome.text().contains(&format!("{all} of {all} held")),
            "{who}: {outcome}"
        );
    }
}
