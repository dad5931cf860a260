//! Comparing what runs with what is declared, for plans.
//!
//! An inspection of each container is most of what such a comparison takes an engine. What a container was made with cannot
//! change under one id: of one whose id the journal has, made for what its labels say, the engine's list is asked for what
//! can, and only those are inspected that leave a doubt.

use std::collections::BTreeMap;

use bollard::models::{ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum};
use futures_util::StreamExt;
use hob_model::{Digest, OpError, Value};
use hob_planner::plan::FieldChange;
use hob_supervisor::{Declared, Images, Standing};

use super::images::{self, Names};
use super::lives::id_of;
use super::supervisor::{ContainerSupervisor, LOOKS_AT_ONCE, declared, described};
use super::{LABEL_SERVICE, LABEL_SPEC, beside};
use crate::compare;
use crate::life::{find, id, is_running};
use crate::port::Engine;
use crate::transfer::tagged;

/// What all comparisons of a plan share.
struct Survey<'a> {
    engine: &'a dyn Engine,
    declared: BTreeMap<&'a str, &'a Declared>,
    /// Ids of containers that run, by their names.
    ids: BTreeMap<String, String>,
    /// What names of images stand for.
    named: Option<Names>,
}

fn label<'c>(listed: &'c ContainerSummary, name: &str) -> Option<&'c str> {
    listed.labels.as_ref()?.get(name).map(String::as_str)
}

fn name(listed: &ContainerSummary) -> &str {
    let first = listed.names.iter().flatten().next();
    first.map(String::as_str).unwrap_or_default().trim_start_matches('/')
}

impl ContainerSupervisor {
    /// See [`hob_supervisor::Supervisor::survey`].
    pub(super) async fn survey_now(&self, declared: &[Declared]) -> Result<Vec<Standing>, OpError> {
        let engine = &*self.engine().await?;
        // Each can still be asked for by its name.
        let named = async { if declared.is_empty() { None } else { images::names(engine).await.ok() } };
        let (listed, named) = tokio::join!(self.listed(engine), named);
        let listed = listed?;
        let survey = &Survey {
            engine,
            declared: declared.iter().map(|it| (it.spec.name.as_str(), it)).collect(),
            ids: listed.iter().map(|it| (name(it).to_owned(), it.id.clone().unwrap_or_default())).collect(),
            named,
        };
        let standing = futures_util::stream::iter(listed)
            .map(|one| async move { self.compared(survey, &one).await })
            .buffered(LOOKS_AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let mut standing: Vec<Standing> =
            standing.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
        standing.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(standing)
    }

    /// A container that is listed; nothing where it does not run any more.
    async fn compared(
        &self,
        survey: &Survey<'_>,
        listed: &ContainerSummary,
    ) -> Result<Option<Standing>, OpError> {
        let service = beside::service_of(label(listed, LABEL_SERVICE), name(listed));
        let digest = label(listed, LABEL_SPEC).and_then(Digest::parse);
        let wanted = survey.declared.get(service).filter(|it| digest == Some(it.spec.body.digest()));
        let used = listed.image_id.as_deref().map(images::bare);
        let standing = |drift, used: Option<String>| async move {
            let images = match survey.declared.get(service) {
                Some(it) => self.images_of(survey, it, used).await,
                None => Images::default(),
            };
            Some(Standing { name: service.to_owned(), digest, drift, images })
        };
        let runs = listed.state == Some(ContainerSummaryStateEnum::RUNNING);
        let misnamed = name(listed) != service;
        if runs
            && !misnamed
            && let Some(it) = wanted
            && self.is_proven(survey, it, listed).await
        {
            return Ok(standing(Ok(Vec::new()), used).await);
        }
        let found = find(survey.engine, listed.id.as_deref().unwrap_or_default()).await?;
        let Some(found) = found.filter(is_running) else { return Ok(None) };
        let drift = match wanted {
            Some(it) => self.drift(survey, it, &found).await,
            None => Ok(Vec::new()),
        };
        let renamed = misnamed.then(|| FieldChange {
            field: "name".to_owned(),
            from: Value::from(name(listed)),
            to: Value::from(service),
        });
        let drift = drift.map(|drift| drift.into_iter().chain(renamed).collect());
        Ok(standing(drift, images::used(&found)).await)
    }

    /// Whether a container is as it is declared beyond doubt: hob made it, for just that, and what could be changed of it
    /// since is in the list, and as it should be.
    async fn is_proven(&self, survey: &Survey<'_>, wanted: &Declared, listed: &ContainerSummary) -> bool {
        let recorded = wanted.recorded.as_ref().map(id_of);
        if recorded.is_none() || recorded != listed.id.as_deref() {
            return false;
        }
        match self.body(survey, wanted).await {
            Ok(body) => compare::is_proven(&body, listed, survey.engine.list_tells()),
            Err(_) => false,
        }
    }

    /// In which fields a container is not what is declared.
    async fn drift(
        &self,
        survey: &Survey<'_>,
        wanted: &Declared,
        found: &ContainerInspectResponse,
    ) -> Result<Vec<FieldChange>, OpError> {
        let body = self.body(survey, wanted).await?;
        let image = declared(&wanted.spec.body)?.image.0;
        let differences = compare::changes(&body, found).into_iter();
        let differences = differences.map(|it| FieldChange { field: it.field, from: it.now, to: it.wanted });
        Ok(differences.chain(images::drift(found, &image)).collect())
    }

    /// What the engine would be asked for.
    async fn body(
        &self,
        survey: &Survey<'_>,
        wanted: &Declared,
    ) -> Result<bollard::models::ContainerCreateBody, OpError> {
        let declared = described(&wanted.spec)?;
        let shared = declared.network_mode.as_deref().and_then(crate::body::shared_with);
        let lender = match shared {
            Some(name) => match survey.ids.get(name) {
                Some(id) => Some(id.clone()),
                None => find(survey.engine, name).await?.map(|it| id(&it)),
            },
            None => None,
        };
        crate::body::body(&self.cx(""), &declared, lender.as_deref().or(shared))
    }

    /// What a service is made from, and what its name stands for; nothing where that cannot be told.
    async fn images_of(&self, survey: &Survey<'_>, wanted: &Declared, used: Option<String>) -> Images {
        let Ok(declared) = declared(&wanted.spec.body) else { return Images::default() };
        let image = &declared.image.0;
        if let Some(named) = survey.named.as_ref().and_then(|named| named.get(&tagged(image))) {
            return Images { used, named: Some(named.clone()) };
        }
        let named = images::named(survey.engine, image).await.unwrap_or_default();
        Images { used, named }
    }
}
