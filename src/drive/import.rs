//! The data directory of a new node whose state comes from elsewhere.

use std::sync::Arc;

use super::serve::{founding, journal_error};
use crate::base::{Block, ClusterId};
use crate::config::Plan;
use crate::drive::start::StartError;
use crate::drive::{Dir, Files};
use crate::journal::{self, Params};

/// `chunks` are the data of a snapshot at index 1: the first that the cluster has.
pub fn import(plan: &Plan, chunks: impl Iterator<Item = Block>) -> Result<ClusterId, StartError> {
    let mut media = Files::new(Arc::new(Dir::open(&plan.data)?));
    let (cluster, me, config, life) = founding(plan, false);
    let made = journal::format_behind(&mut media, cluster, me, config, life, &Params::default(), chunks);
    made.map_err(|why| journal_error(plan, why))?;
    Ok(cluster)
}
