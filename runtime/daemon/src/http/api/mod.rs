//! The routes of `/api/v1`.

mod alerts;
mod backups;
mod commands;
mod events;
pub(super) mod runs;
mod schedules;
mod services;
mod sources;

use http::{Method, StatusCode};

use super::query::Kind::{Any, Count, Duration, Flag, Map, Text, Texts};
use super::query::{Field, optional, required};
use super::route::{Answer, BODY_BYTES_MAX, Route, SOURCES_BYTES_MAX};

/// One line per route: method, path, name, what it does, what it answers, handler, and then what differs from a route
/// that takes nothing and answers 200.
macro_rules! routes {
    ($($method:ident $path:literal $id:literal $about:literal => $answer:expr, $handler:path
        $(, $field:ident: $value:expr)*;)*) => {
        &[$(Route {
            $($field: $value,)*
            ..Route {
                method: Method::$method,
                path: $path,
                id: $id,
                about: $about,
                query: &[],
                body: &[],
                body_bytes_max: BODY_BYTES_MAX,
                status: StatusCode::OK,
                answer: $answer,
                handler: |call| Box::pin($handler(call)),
            }
        },)*]
    };
}

const FOLLOW: Field = optional("follow", Flag, "go on with what comes, as server-sent events");
const WAIT: Field = optional("wait", Duration, "answer when the run has come to rest, or after this time");

/// All routes; those of one path stand together.
pub(crate) static ROUTES: &[Route] = routes! {
    GET "/status" "getStatus" "Tells what `hob status --json` prints"
        => Answer::Json("Status"), services::status;
    GET "/numbers" "listNumbers" "Lists what is measured now, as `/metrics` tells it: families of numbers with their labels"
        => Answer::List("Family"), services::numbers;
    GET "/graphics" "getGraphics" "Tells who holds what of the graphics cards, as `hob gpu --json` does; nothing where no service uses one"
        => Answer::Json("Graphics"), services::graphics;
    GET "/plan" "getPlan" "Tells what is not as declared, as `hob plan --json` does, with its basis"
        => Answer::Json("Plan"), services::plan;
    POST "/apply" "apply" "Carries out one plan; refused when the world has changed since. Answers when all has come to rest"
        => Answer::Json("Plan"), services::apply,
        body: &[required("basis", Text, "the basis of the plan")];
    POST "/up" "up" "Has all that is declared run as declared, but for what is held. Answers when all has come to rest"
        => Answer::Json("Plan"), services::up;
    POST "/down" "down" "Stops all services in reverse order, until they are started or brought up; hob goes on"
        => Answer::Json("Stopped"), services::down;
    GET "/boot" "getBoot" "Tells what the last boot waited for, as `hob boot explain --json` does"
        => Answer::Json("Boot"), services::boot;
    GET "/schedules" "listSchedules" "Lists the schedules with their next fire times"
        => Answer::List("Schedule"), schedules::list;
    POST "/schedules/{schedule}/run" "runSchedule" "Starts a run of a schedule now, beside its slots; answers once that is durable"
        => Answer::Json("Queued"), schedules::run,
        status: StatusCode::ACCEPTED;
    POST "/schedules/{schedule}/pause" "pauseSchedule" "Has no slot of a schedule fire from now on"
        => Answer::Json("Schedule"), schedules::pause,
        body: &[optional("reason", Text, "why, for people")];
    POST "/schedules/{schedule}/resume" "resumeSchedule" "Ends a pause; what it left out is not caught up"
        => Answer::Json("Schedule"), schedules::resume;
    POST "/schedules/{schedule}/backfill" "backfillSchedule" "Runs the slots of a range that were never claimed, one after the other"
        => Answer::Json("Backfilled"), schedules::backfill,
        status: StatusCode::ACCEPTED,
        body: &[
            required("from", Text, "slots after this time, RFC 3339"),
            optional("to", Text, "up to this time; until now when not given"),
            optional("dry", Flag, "only tell which slots these are"),
        ];

    GET "/runs" "listRuns" "Lists runs, newest first"
        => Answer::List("Run"), runs::list,
        query: &[
            optional("status", Texts, "only these states, with commas between them"),
            optional("name", Text, "only runs of this name"),
            optional("kind", Text, "only runs of this kind: playbook, workflow, schedule, …"),
            optional("since", Text, "only runs that were started at this time or later, RFC 3339"),
            optional("until", Text, "only runs that were started before this time"),
            optional("tag", Texts, "only runs with each of these tags, with commas between them"),
            optional("search", Text, "only runs with this text in their name, input, output, error, calls or log"),
            optional("limit", Count, "at most so many; 100 when not given"),
            optional("before", Text, "only runs older than this one, for paging"),
        ];
    POST "/runs" "startRun" "Starts a workflow, or (over the socket) a playbook with its sources; answers once that is durable"
        => Answer::Json("Started"), runs::start,
        status: StatusCode::ACCEPTED,
        body_bytes_max: SOURCES_BYTES_MAX,
        query: &[WAIT],
        body: &[
            optional("workflow", Text, "the workflow to start"),
            optional("input", Any, "its argument"),
            optional("until", Text, "the node or step after which it ends, and whose value it gives"),
            optional("playbook", Map, "a playbook with its sources, as `hob run` sends it"),
        ];
    POST "/runs/check" "checkRuns" "Replays all live runs on this hob, without acting"
        => Answer::List("Verdict"), sources::check_all;
    GET "/runs/{run}" "getRun" "Shows a run with its entries and its log"
        => Answer::Json("RunDetail"), runs::show,
        query: &[WAIT];
    GET "/runs/{run}/logs" "getLogs" "Lists the lines that a run wrote to its log"
        => Answer::ListOrStream("LogLine"), runs::logs,
        query: &[FOLLOW, optional("after", Count, "only entries after this number")];
    POST "/runs/{run}/resume" "resumeRun" "Goes on with a run that was interrupted, paused or restored"
        => Answer::Json("Run"), commands::resume;
    POST "/runs/{run}/retry" "retryRun" "Continues a failed run from the effect that failed"
        => Answer::Json("Run"), commands::retry,
        body: &[optional("from_start", Flag, "a new run instead, from the start")];
    POST "/runs/{run}/fork" "forkRun" "Makes a new run that shares the past of this one up to a position"
        => Answer::Json("Started"), commands::fork,
        status: StatusCode::ACCEPTED,
        body: &[
            optional("at", Text, "the first position that is not shared; all is shared when not given"),
            optional("set", Map, "other values for effects and steps, by position"),
            optional("input", Any, "another input"),
        ];
    POST "/runs/{run}/cancel" "cancelRun" "Asks a run to end; the second time, the effect under way ends too"
        => Answer::Json("Run"), commands::cancel,
        body: &[optional("reason", Text, "why, for people")];
    POST "/runs/{run}/interrupt" "interruptRun" "Ends what a run does now with the error `cancelled`, and lets the run go on"
        => Answer::Json("Run"), commands::interrupt,
        body: &[optional("kept", Text, "waits for this signal go on")];
    POST "/runs/{run}/signal" "signalRun" "Sends a signal to a run; it is kept until the run waits for it"
        => Answer::Json("Run"), commands::signal,
        body: &[required("name", Text, "the signal"), optional("payload", Any, "what it carries")];
    POST "/runs/{run}/approve" "approveRun" "Answers an approval"
        => Answer::Json("Run"), commands::approve,
        body: &[
            optional("position", Text, "which, when several are open"),
            optional("deny", Flag, "the answer is no"),
            optional("comment", Text, "why, for people"),
        ];
    POST "/runs/{run}/resolve" "resolveEffect" "Settles an effect in doubt"
        => Answer::Json("Run"), commands::resolve,
        body: &[
            required("position", Text, "where"),
            required("choice", Text, "retry, skip or result"),
            optional("result", Any, "with `result`: what the effect gave"),
        ];
    POST "/runs/{run}/migrate" "migrateRun" "Moves a run to other sources if each recorded call matches there (over the socket)"
        => Answer::Json("Verdict"), sources::migrate,
        body_bytes_max: SOURCES_BYTES_MAX,
        body: &[required("sources", Map, "`root origin host files`, files by path")];
    POST "/runs/{run}/check" "checkRun" "Replays a run on this hob, without acting"
        => Answer::Json("Verdict"), sources::check;

    GET "/events" "listEvents" "Lists events of the bus, oldest first"
        => Answer::ListOrStream("Event"), events::list,
        query: &[
            FOLLOW,
            optional("after", Count, "only events after this number; the latest when not given"),
            optional("name", Text, "only events whose name fits this pattern, with `*` for any characters"),
            optional("limit", Count, "at most so many; 100 when not given"),
        ];
    POST "/events" "emitEvent" "Puts an event on the bus; answers once that is durable"
        => Answer::Json("Emitted"), events::emit,
        status: StatusCode::ACCEPTED,
        body: &[required("name", Text, "its name: `disk.full`"), optional("payload", Any, "what it carries")];

    GET "/notices" "listNotices" "Lists what is shown at login: what wanted attention and reached no channel"
        => Answer::Json("Notices"), events::notices;
    POST "/notices/clear" "clearNotices" "Forgets what is shown at login"
        => Answer::Json("Cleared"), events::clear_notices;

    GET "/alerts" "listAlerts" "Lists the alerts with what they found, and the silences"
        => Answer::Json("Alerts"), alerts::list;
    POST "/alerts/{alert}/test" "testAlert" "Asks an alert now, without anything coming of it"
        => Answer::Json("AlertTest"), alerts::test,
        body: &[optional("send", Flag, "send a message to its channels that says it is a test")];
    POST "/alerts/{alert}/silence" "silenceAlert" "Does not tell of an alert for a while; `*` stands for any characters of its name"
        => Answer::Json("Silence"), alerts::silence,
        status: StatusCode::CREATED,
        body: &[
            required("for", Duration, "for how long"),
            optional("labels", Map, "the labels that something must have, with `*` for any characters"),
            optional("reason", Text, "why, for people"),
        ];
    POST "/silences/{silence}/end" "endSilence" "Ends a silence"
        => Answer::Json("Silence"), alerts::unsilence;

    GET "/backups" "listBackups" "Lists the datasets that are backed up, with what is known of each repository"
        => Answer::List("Backup"), backups::list;
    POST "/backups/{dataset}/{act}" "startBackup" "Starts a run that does something with the backups of a dataset: run, list, restore, check, verify or init"
        => Answer::Json("Started"), backups::start,
        status: StatusCode::ACCEPTED,
        body: &[optional("input", Map, "what is done: from, snapshot, to, parts, plan, delete, read, path, scratch")];

    GET "/setup" "listSetups" "Lists the steps that are done once"
        => Answer::List("Setup"), services::setups;
    POST "/setup/{step}/reset" "resetSetup" "Forgets that a step was done: it is done again"
        => Answer::Json("Setup"), services::reset_setup;

    GET "/services" "listServices" "Lists the services"
        => Answer::List("Service"), services::list;
    GET "/services/{service}" "getService" "Shows a service"
        => Answer::Json("Service"), services::show;
    POST "/services/{service}/start" "startService" "Starts a service, and what it needs"
        => Answer::Json("Service"), services::start;
    POST "/services/{service}/stop" "stopService" "Stops a service, after what depends on it"
        => Answer::Json("Service"), services::stop;
    POST "/services/{service}/restart" "restartService" "Stops and starts a service"
        => Answer::Json("Service"), services::restart;
    POST "/services/{service}/renew" "renewService" "Restarts a service if a secret that it uses has another value now"
        => Answer::Json("Service"), services::renew;
    POST "/services/{service}/hold" "holdService" "Leaves a service alone from now on"
        => Answer::Json("Service"), services::hold,
        body: &[
            optional("for", Duration, "for how long; for ever when not given"),
            optional("reason", Text, "why, for people"),
        ];
    POST "/services/{service}/release" "releaseService" "Ends a hold"
        => Answer::Json("Service"), services::release;
    POST "/services/{service}/update" "updateService" "Makes a service from a newer image, if the registry has one; answers when it has settled or was rolled back"
        => Answer::Json("Updated"), services::update,
        body: &[optional("dry_run", Flag, "only fetch the image, and tell")];
};
