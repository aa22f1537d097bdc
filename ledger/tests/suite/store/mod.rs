//! The tests of the store: each case is a function over the traits, and runs on each database.

mod administration;
mod feed;
mod histories;
mod life;
mod match_rules;
mod postgres;
mod postgres_way;
mod seats;
mod sqlite;
mod systems;
mod tokens;
mod upkeep;

use std::sync::Arc;

use els_ledger::rules::{Denied, RegisterCommand};
use els_ledger::{
    Actor, By, Created, Cursor, EventFilter, How, KeyId, KeyUpdate, NewKey, Origin, Scope, StateChange, Store,
    StoreError,
};
use els_protocol::RegistrationId;
use els_protocol::wire::Seats;
use els_testkit::store::*;

/// Runs every case on a database, which `$fresh` makes: `store_tests!(fresh)`.
macro_rules! store_tests {
    ($fresh:path) => {
        store_tests! { $fresh:
            seats::a_seat_is_taken_confirmed_and_released,
            seats::a_caller_without_a_token_learns_nothing,
            seats::a_full_key_gives_no_seat_and_says_how_full_it_is,
            seats::two_hundred_at_once_get_ten_of_ten_seats,
            seats::one_machine_asking_many_times_at_once_has_one_seat,
            seats::taking_and_releasing_at_once_loses_no_seat,
            seats::an_update_changes_what_was_sent_and_keeps_the_label,
            seats::an_early_release_is_remembered_for_a_day,
            seats::early_releases_are_bounded_for_each_client,
            seats::a_key_lists_its_seats_in_pages_and_releases_its_own,
            seats::a_key_without_self_release_releases_no_seat,
            seats::lowering_seats_ends_no_registration,
            match_rules::a_machine_that_lost_its_state_keeps_its_seat_on_a_full_key,
            match_rules::a_machine_said_to_be_moved_keeps_its_seat,
            match_rules::clones_on_other_hardware_have_seats_of_their_own,
            match_rules::a_machine_is_found_among_many_that_share_each_of_its_ids,
            match_rules::a_superseded_credential_has_its_hour,
            match_rules::two_alive_under_one_seat_get_two_seats_if_one_is_free,
            match_rules::two_alive_on_a_full_key_leave_the_seat_to_the_first_within_a_day,
            match_rules::many_uses_at_once_are_one_decision,
            match_rules::an_old_disk_on_a_full_key_is_refused_after_a_day,
            match_rules::the_superseded_ids_of_a_seat_follow_it,
            match_rules::a_seat_that_moved_sixteen_times_within_the_hour_moves_no_more,
            match_rules::forty_machines_of_one_hardware_id_all_have_a_seat,
            match_rules::of_forty_machines_of_one_hardware_id_twenty_keep_twenty_seats,
            match_rules::a_superseded_id_that_is_not_used_ends_after_35_days,
            match_rules::an_id_is_distrusted_until_its_last_registration_ends,
            match_rules::the_older_one_takes_a_free_seat_when_the_newer_has_released_its_own,
            match_rules::a_key_that_refuses_decides_nothing,
            life::the_whole_life_of_a_key_is_as_in_the_model,
            match_rules::machines_of_another_key_never_match,
            histories::whatever_happens_seats_and_credentials_agree,
            feed::a_look_up_reads_credential_and_key_at_one_moment,
            feed::every_change_that_the_gate_must_know_is_in_the_feed,
            feed::a_reader_of_the_feed_misses_nothing_while_others_write,
            feed::last_seen_is_written_in_batches_and_never_becomes_earlier,
            upkeep::a_seat_that_is_not_used_is_released_after_its_days,
            upkeep::time_in_which_the_gate_was_down_does_not_count,
            upkeep::machine_ids_are_erased_ninety_days_after_release_also_from_the_audit_log,
            upkeep::ids_of_machines_that_hold_seats_are_never_erased,
            upkeep::a_job_has_one_holder_at_a_time,
            administration::a_contract_is_made_once,
            administration::a_secret_always_belongs_to_one_key,
            administration::a_rotated_key_keeps_its_machines_and_the_old_secret_its_time,
            administration::suspending_releases_no_seat_and_revoking_is_final,
            administration::expiry_refuses_new_machines_at_once_and_known_ones_after_grace,
            administration::a_change_says_from_what_to_what,
            administration::what_is_known_can_be_found,
            administration::keys_are_listed_in_pages,
            administration::every_event_says_who_caused_it,
            administration::a_scope_of_one_key_reaches_no_other,
            systems::a_change_is_carried_out_once_for_its_idempotency_key,
            systems::the_same_request_many_times_at_once_makes_one_key,
            systems::a_dry_run_says_what_would_be_and_writes_nothing,
            systems::of_two_changes_of_one_version_one_is_refused,
            systems::seats_are_released_by_id_or_by_a_filter_whose_count_is_right,
            systems::lists_have_what_fits_in_pages,
            systems::the_feed_goes_on_from_its_cursor_and_notices_another_database,
            tokens::a_token_reaches_the_keys_of_its_reseller_and_products,
            tokens::a_token_is_stored_as_created_and_its_last_use_never_becomes_earlier,
        }
    };
    ($fresh:path: $($module:ident::$case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let database = $fresh().await;
                super::$module::$case(std::sync::Arc::clone(&database.store)).await;
                // Whatever a case does, counters, registrations and audit log agree afterwards.
                assert_eq!(database.store.check().await.unwrap(), [""; 0]);
            }
        )*
    };
}
pub(crate) use store_tests;
