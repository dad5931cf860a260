//! `hob top`: services, graphics cards, disks and runs, live in the terminal.

mod draw;
mod seen;

use std::io::IsTerminal as _;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hob_daemon::client::{Client, ClientError};
use hob_model::{Code, Diagnostic};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::widgets::TableState;

use self::draw::Screen;
use self::seen::Seen;
use super::remote;
use crate::context::{Context, Exit, Failure, Outcome};

/// The pause between looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a key is waited for before the screen is drawn again.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// Lines that a page key moves.
const PAGE_LINES: u16 = 10;

/// `hob top`
pub(crate) fn show(context: &Context) -> Outcome {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let problem = Diagnostic::error(Code::Usage, "`hob top` needs a terminal");
        return Err(problem.hint("`hob status` prints the services once, `hob metrics` the numbers").into());
    }
    let client = remote::client(context);
    // Whoever cannot be asked at all is told of before the screen is taken.
    let first = look(&client)?;
    let mut terminal = ratatui::try_init().map_err(broken)?;
    let ended = serve(&mut terminal, first, &looks(client), context.out.color);
    ratatui::restore();
    ended.map_err(broken)?;
    Ok(Exit::Done)
}

fn broken(error: std::io::Error) -> Failure {
    Diagnostic::error(Code::OperationFailed, format!("the terminal cannot be used: {error}")).into()
}

fn look(client: &Client) -> Result<Seen, ClientError> {
    Ok(Seen::of(&client.get("/api/v1/status")?, &client.get("/api/v1/numbers")?))
}

/// Looks on a thread of its own: a daemon that takes its time does not hold up the keys.
fn looks(client: Client) -> Receiver<Result<Seen, ClientError>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let pause = || std::thread::sleep(LOOK_EVERY);
        pause();
        while sender.send(look(&client)).is_ok() {
            pause();
        }
    });
    receiver
}

/// Draws and takes keys until one of them quits.
fn serve(
    terminal: &mut DefaultTerminal,
    mut seen: Seen,
    looks: &Receiver<Result<Seen, ClientError>>,
    color: bool,
) -> std::io::Result<()> {
    let (mut busy, mut problem): (_, Option<String>) = (None, None);
    let mut at = TableState::new();
    loop {
        while let Ok(look) = looks.try_recv() {
            match look {
                Ok(now) => {
                    // The numbers of the machine are some seconds old: what they were stays until there are others.
                    busy = now.busy_since(&seen).or(busy);
                    (seen, problem) = (now, None);
                }
                Err(error) => problem = Some(error.to_string()),
            }
        }
        let screen = Screen { seen: &seen, busy, problem: problem.as_deref(), color };
        terminal.draw(|frame| screen.draw(frame, &mut at))?;
        if event::poll(DRAW_EVERY)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
            && pressed(key, &mut at, seen.services.len())
        {
            return Ok(());
        }
    }
}

/// What a key does; whether it quits.
fn pressed(key: KeyEvent, at: &mut TableState, services: usize) -> bool {
    let last = services.saturating_sub(1);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
        KeyCode::Down | KeyCode::Char('j') => *at.offset_mut() = (at.offset() + 1).min(last),
        KeyCode::Up | KeyCode::Char('k') => *at.offset_mut() = at.offset().saturating_sub(1),
        KeyCode::PageDown => *at.offset_mut() = (at.offset() + usize::from(PAGE_LINES)).min(last),
        KeyCode::PageUp => *at.offset_mut() = at.offset().saturating_sub(usize::from(PAGE_LINES)),
        KeyCode::Home => *at.offset_mut() = 0,
        KeyCode::End => *at.offset_mut() = last,
        _ => {}
    }
    false
}
