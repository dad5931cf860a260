//! The screen: what there is in the space that there is.

use hob_model::size;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState};

use super::seen::{Disk, Gpu, Seen};

/// From this width on, in columns, services and the rest stand side by side.
const WIDE_COLUMNS: u16 = 100;
/// From this share on something is nearly full.
const NEARLY_FULL: f64 = 0.9;

/// What is drawn.
pub(super) struct Screen<'s> {
    /// What was seen last.
    pub(super) seen: &'s Seen,
    /// How busy the processors were, from 0 to 1.
    pub(super) busy: Option<f64>,
    /// Why nothing new is seen.
    pub(super) problem: Option<&'s str>,
    pub(super) color: bool,
}

impl Screen<'_> {
    /// Draws it; `at` says which service is the first that is shown.
    pub(super) fn draw(&self, frame: &mut Frame<'_>, at: &mut TableState) {
        let [head, body, foot] =
            Layout::vertical([Constraint::Length(2), Constraint::Fill(1), Constraint::Length(1)])
                .areas(frame.area());
        frame.render_widget(self.head(), head);
        frame.render_widget(self.foot(), foot);
        let seen = self.seen;
        let around = self.around(seen);
        let (left, right) = if body.width >= WIDE_COLUMNS {
            let [left, right] =
                Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(2).areas(body);
            (left, right)
        } else {
            let lines = u16::try_from(around.len() + 1).unwrap_or(u16::MAX).min(body.height / 2);
            let [above, below] =
                Layout::vertical([Constraint::Fill(1), Constraint::Length(lines)]).areas(body);
            (above, below)
        };
        self.services(frame, left, seen, at);
        frame.render_widget(Paragraph::new(around).block(Block::new().borders(Borders::TOP)), right);
    }

    fn head(&self) -> Paragraph<'static> {
        let seen = self.seen;
        let host = &seen.host;
        let [one, five, fifteen] = host.load;
        let used = host.memory.saturating_sub(host.memory_available);
        let ready = seen.services.iter().filter(|it| it.ready).count();
        let busy = self.busy.map_or_else(|| "-".to_owned(), percent);
        let state = if seen.ready { self.good("serving") } else { self.bad("not ready") };
        let stuck = seen.runs_stuck;
        let stuck = if stuck > 0 { self.bad(format!(", {stuck} need a person")) } else { Span::raw("") };
        Paragraph::new(vec![
            Line::from(vec![
                self.strong("hob "),
                state,
                Span::raw(format!(
                    "   services {ready}/{}   runs {} active",
                    seen.services.len(),
                    seen.runs_active
                )),
                stuck,
            ]),
            Line::from(format!(
                "load {one:.2} {five:.2} {fifteen:.2}   cpu {busy}   memory {} of {}",
                size::format(used),
                size::format(host.memory)
            )),
        ])
    }

    fn foot(&self) -> Line<'static> {
        match self.problem {
            Some(problem) => Line::from(self.bad(problem.to_owned())),
            None => Line::from(Span::styled("q quits, ↑ ↓ scroll", self.style(Modifier::DIM, None))),
        }
    }

    fn services(&self, frame: &mut Frame<'_>, area: Rect, seen: &Seen, at: &mut TableState) {
        let rows = seen.services.iter().map(|it| {
            let state = match it.state.as_str() {
                "ready" | "completed" => self.good(it.state.clone()),
                "failed" | "degraded" => self.bad(it.state.clone()),
                _ => Span::raw(it.state.clone()),
            };
            Row::new([
                Cell::from(it.tier.clone()),
                Cell::from(it.name.clone()),
                Cell::from(it.kind.clone()),
                Cell::from(state),
                Cell::from(it.note.clone()),
            ])
        });
        let longest = |read: fn(&super::seen::Service) -> &str, least: usize| {
            let longest = seen.services.iter().map(|it| read(it).chars().count()).max().unwrap_or_default();
            Constraint::Length(u16::try_from(longest.max(least)).unwrap_or(u16::MAX))
        };
        let widths = [
            longest(|it| &it.tier, 4),
            longest(|it| &it.name, 7),
            longest(|it| &it.kind, 4),
            longest(|it| &it.state, 5),
            Constraint::Fill(1),
        ];
        let head =
            Row::new(["TIER", "SERVICE", "KIND", "STATE", "NOTE"]).style(self.style(Modifier::BOLD, None));
        let table =
            Table::new(rows, widths).header(head).column_spacing(2).block(Block::new().borders(Borders::TOP));
        frame.render_stateful_widget(table, area, at);
    }

    /// What is around the services.
    fn around(&self, seen: &Seen) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        let mut part = |title: &'static str, all: Vec<Line<'static>>| {
            if !all.is_empty() {
                lines.push(Line::from(self.strong(title)));
                lines.extend(all);
            }
        };
        part("DISKS", seen.disks.iter().map(|it| self.disk(it)).collect());
        part("GPU", seen.gpus.iter().map(|it| self.gpu(it)).collect());
        let containers: Vec<String> =
            seen.containers.iter().map(|(state, count)| format!("{count} {state}")).collect();
        part(
            "CONTAINERS",
            if containers.is_empty() { vec![] } else { vec![indented(containers.join(", "))] },
        );
        part("FAILED UNITS", seen.units_failed.iter().map(|it| indented(it.clone())).collect());
        part(
            "WAITING RUNS",
            seen.waiting.iter().map(|(name, what)| indented(format!("{name}: {what}"))).collect(),
        );
        part("NEXT", seen.schedules.iter().map(|(name, at)| indented(format!("{name} {at}"))).collect());
        lines
    }

    #[allow(clippy::cast_precision_loss)] // a share needs no more digits
    fn disk(&self, disk: &Disk) -> Line<'static> {
        // Of what anybody can use, as `df` counts it: the rest is kept for the superuser.
        let share = disk.used as f64 / (disk.used + disk.free).max(1) as f64;
        let text = format!("  {:>4} of {:>6}  {}", percent(share), size::format(disk.bytes), disk.path);
        Line::from(if share >= NEARLY_FULL { self.bad(text) } else { Span::raw(text) })
    }

    fn gpu(&self, gpu: &Gpu) -> Line<'static> {
        let memory = match (gpu.used, gpu.memory) {
            (Some(used), Some(all)) => format!("{} of {}", size::format(used), size::format(all)),
            _ => "-".to_owned(),
        };
        let busy = gpu.busy.map(percent).unwrap_or_default();
        let heat = gpu.celsius.map(|it| format!("{it:.0} °C")).unwrap_or_default();
        let power = gpu.watts.map(|it| format!("{it:.0} W")).unwrap_or_default();
        let told = [gpu.name.clone(), memory, busy, heat, power];
        indented(told.into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("  "))
    }

    fn style(&self, modifier: Modifier, color: Option<Color>) -> Style {
        let style = Style::new().add_modifier(modifier);
        match color.filter(|_| self.color) {
            Some(color) => style.fg(color),
            None => style,
        }
    }

    fn strong(&self, text: &'static str) -> Span<'static> {
        Span::styled(text, self.style(Modifier::BOLD, None))
    }

    fn good(&self, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), self.style(Modifier::empty(), Some(Color::Green)))
    }

    fn bad(&self, text: impl Into<String>) -> Span<'static> {
        Span::styled(text.into(), self.style(Modifier::BOLD, Some(Color::Red)))
    }
}

fn indented(text: String) -> Line<'static> {
    Line::from(format!("  {}", hob_terminal::text::sanitize(&text)))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
