//! The rendered Kubernetes manifests, and compose.yaml: every reference leads somewhere, every setting is one that the
//! programs know, every probe asks what they answer, and what runs is as restricted as Pod Security wants it.
//! `./test manifests` checks that the manifests are what the overlays render to.

#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod alerts;
mod certificates;
mod compose;
mod jobs;
mod objects;
mod pods;
mod reach;
mod settings;
mod store;
mod tracing;

use compose::Compose;
use objects::Manifests;

/// Every overlay, rendered.
const OVERLAYS: [&str; 5] =
    ["minikube", "minikube-postgres", "production", "production-embedded", "production-restored"];

/// Those with real money some day.
const PRODUCTIONS: [&str; 3] = ["production", "production-embedded", "production-restored"];

/// Those whose books are in PostgreSQL.
const SHARED: [&str; 3] = ["minikube-postgres", "production", "production-restored"];

fn every(overlays: &[&str], check: impl Fn(&Manifests)) {
    for overlay in overlays {
        println!("{overlay}");
        check(&Manifests::read(overlay));
    }
}

fn every_overlay(check: impl Fn(&Manifests)) {
    every(&OVERLAYS, check);
}

#[test]
fn every_object_is_of_a_kind_that_belongs_to_a_bank_and_there_once() {
    every_overlay(objects::all_are_known);
}

#[test]
fn every_selector_and_reference_leads_somewhere() {
    every_overlay(reach::selectors_select);
    every_overlay(reach::references_lead_somewhere);
}

#[test]
fn every_port_and_probe_is_one_that_the_programs_serve() {
    every_overlay(reach::ports_are_there);
    every_overlay(reach::probes_ask_what_is_answered);
}

#[test]
fn every_setting_is_one_that_the_programs_take() {
    every_overlay(settings::all_are_taken);
    every_overlay(settings::all_servers_are_named_in_order);
    every_overlay(settings::the_assignment_is_there_and_fits);
}

#[test]
fn the_tracing_component_says_what_both_programs_take_and_opens_the_way() {
    tracing::says_what_both_programs_take_and_opens_the_way();
}

#[test]
fn every_pod_is_as_restricted_as_it_can_be() {
    every_overlay(pods::are_restricted);
}

#[test]
fn every_pod_has_time_to_stop_and_room_that_is_bounded() {
    every_overlay(pods::have_time_to_stop);
    every_overlay(pods::have_bounds);
}

#[test]
fn backups_and_restores_are_commands_that_bankctl_takes() {
    every(&PRODUCTIONS, jobs::are_taken);
    every(&PRODUCTIONS, jobs::agree_on_where_backups_are);
    let embedded = Manifests::with_restore("production-embedded");
    jobs::restore_onto_the_volume_of_the_first_server(&embedded);
    pods::are_restricted(&embedded);
    pods::have_bounds(&embedded);
    reach::references_lead_somewhere(&embedded);
}

#[test]
fn servers_with_a_database_reach_it_and_keep_nothing() {
    for overlay in OVERLAYS {
        assert_eq!(store::is_shared(&Manifests::read(overlay)), SHARED.contains(&overlay), "{overlay}");
    }
    every(&SHARED, store::is_reached);
    every(&SHARED, store::servers_keep_nothing);
    store::more_servers_may_come(&Manifests::read("production"));
}

#[test]
fn the_database_of_the_demonstration_is_one_that_its_image_makes() {
    store::the_demonstrations_is_made(&Manifests::read("minikube-postgres"));
}

#[test]
fn the_database_of_production_loses_nothing_that_was_answered_for() {
    let production = Manifests::read("production");
    store::fields_are_known(&production);
    store::is_durable(&production);
    store::has_room_for_all_servers(&production);
    store::is_backed_up(&production);
}

#[test]
fn a_restored_database_is_as_the_lost_one() {
    store::restored_is_the_same(&Manifests::read("production"));
    store::servers_are_at_the_restored_one_alone(&Manifests::read("production-restored"));
}

#[test]
fn the_data_outlives_whatever_is_deleted() {
    every_overlay(pods::keep_their_volumes);
}

#[test]
fn production_lets_nothing_through_but_the_named_edges() {
    every(&PRODUCTIONS, reach::edges_are_named);
    store::edges_are_named(&Manifests::read("production"));
}

#[test]
fn production_keeps_the_door_open_and_the_nodes_drainable() {
    every(&PRODUCTIONS, reach::budgets_let_one_go);
    every(&PRODUCTIONS, reach::the_autoscaler_alone_counts);
}

#[test]
fn only_the_demonstration_is_open() {
    every_overlay(|overlay| assert_ne!(settings::is_open(overlay), certificates::is_secure(overlay)));
    every(&PRODUCTIONS, |overlay| assert!(!settings::is_open(overlay)));
}

#[test]
fn only_the_demonstration_speaks_plainly() {
    every(&PRODUCTIONS, |overlay| assert!(certificates::is_secure(overlay)));
    every(&["minikube", "minikube-postgres"], |overlay| assert!(!certificates::is_secure(overlay)));
}

#[test]
fn every_certificate_comes_from_a_secret_that_only_its_program_reads() {
    every(&PRODUCTIONS, certificates::come_from_secrets);
}

#[test]
fn every_branch_server_has_a_certificate_for_the_name_by_which_it_is_called() {
    every(&PRODUCTIONS, certificates::are_for_the_hosts_that_are_asked);
}

#[test]
fn probes_and_scrapes_need_no_certificate() {
    every(&PRODUCTIONS, certificates::are_asked_of_nobody_who_only_looks);
}

#[test]
fn every_alert_asks_for_what_the_programs_measure_and_has_its_paragraph() {
    alerts::all_ask_for_metrics_that_exist();
    alerts::all_are_explained();
}

#[test]
fn compose_builds_what_it_runs() {
    compose::images_are_built_here(&Compose::read());
}

#[test]
fn compose_says_only_what_the_programs_take_and_agrees_with_itself() {
    compose::settings_are_taken(&Compose::read());
    compose::servers_are_named_in_order(&Compose::read());
}

#[test]
fn compose_copies_nothing_into_what_is_read_only() {
    compose::nothing_is_copied_into_what_is_read_only(&Compose::read());
}

#[test]
fn compose_opens_its_doors_to_this_machine_alone() {
    compose::ports_are_there(&Compose::read());
}

#[test]
fn compose_asks_the_programs_themselves_how_they_are() {
    compose::health_is_asked_of_the_program(&Compose::read());
}

#[test]
fn compose_restricts_and_bounds_what_it_runs() {
    compose::programs_are_restricted(&Compose::read());
    compose::programs_are_bounded_and_have_time_to_stop(&Compose::read());
}
