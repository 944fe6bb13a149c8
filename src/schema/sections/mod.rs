//! The sections, one file each.

mod children;
mod connections;
mod deployments;
mod descriptors;
mod dispositions;
mod ending_upgrade;
mod files;
#[cfg(feature = "next")]
mod hint;
mod last_upgrade;
mod leftovers;
mod listeners;
mod master;
mod metrics_file;
mod missed_acks;
#[cfg(feature = "next")]
mod note;
mod options;
mod origin;
mod pool;
mod programs;
mod reexec;
mod rollout;
mod rollout_bounds;
mod senders;
mod slot_deaths;
mod stop;
mod stop_signals;
mod suspensions;
mod unlogged;
mod waiters;
mod warned;
mod worker_directories;
mod worker_stderr;
mod workers;

use crate::schema::section::Row;

/// A row for each section, in encoding order. Rows are added at the end, and never moved or
/// removed: sections that a release does not know follow all those that it knows.
pub(super) const SECTIONS: &[Row] = &[
    Row::of::<master::Master>(),
    Row::of::<origin::Origin>(),
    Row::of::<options::Options>(),
    Row::of::<pool::Pool>(),
    Row::of::<workers::Workers>(),
    Row::of::<connections::Connections>(),
    Row::of::<descriptors::Descriptors>(),
    Row::of::<listeners::Listeners>(),
    Row::of::<files::Files>(),
    Row::of::<children::Children>(),
    Row::of::<rollout_bounds::RolloutBounds>(),
    Row::of::<metrics_file::MetricsFile>(),
    Row::of::<deployments::Deployments>(),
    Row::of::<worker_directories::WorkerDirectories>(),
    Row::of::<missed_acks::MissedAcks>(),
    Row::of::<reexec::Reexec>(),
    Row::of::<rollout::Rollout>(),
    Row::of::<waiters::Waiters>(),
    Row::of::<worker_stderr::WorkerStderr>(),
    Row::of::<unlogged::Unlogged>(),
    Row::of::<last_upgrade::LastUpgrade>(),
    Row::of::<slot_deaths::SlotDeaths>(),
    Row::of::<senders::Senders>(),
    Row::of::<stop::Stop>(),
    Row::of::<suspensions::Suspensions>(),
    Row::of::<programs::Programs>(),
    Row::of::<dispositions::Dispositions>(),
    Row::of::<stop_signals::StopSignals>(),
    Row::of::<leftovers::Leftovers>(),
    Row::of::<ending_upgrade::EndingUpgrade>(),
    Row::of::<warned::Warned>(),
    #[cfg(feature = "next")]
    Row::of::<note::Note>(),
    #[cfg(feature = "next")]
    Row::of::<hint::Hint>(),
];
