//! `hob state backup|restore`

use hob_journal::{SqliteJournal, sqlite};
use hob_terminal::human;

use crate::args::StateCommand;
use crate::context::{Context, Exit, Outcome, absolute};

/// `hob state …`
pub(crate) fn dispatch(context: &Context, command: StateCommand) -> Outcome {
    match command {
        StateCommand::Backup { to } => {
            SqliteJournal::open_read_only(&context.state)?.backup(&absolute(&to))?;
            context.say(&format!("copied to {}", to.display()));
        }
        StateCommand::Restore { from } => {
            let held = sqlite::restore(&absolute(&from), &context.state)? as u64;
            context.say(&format!("restored into {}", context.state.display()));
            if held > 0 {
                let runs = human::counted(held, "live run is", "live runs are");
                context.say(&format!(
                    "{runs} held, since the world has moved on; `hob runs resume` releases one"
                ));
            }
        }
    }
    Ok(Exit::Done)
}
