-- Applications whose funded place changed after a declaration was submitted for them.
-- One row for each change seen and each declaration before it. Voided declarations are left out, and those
-- clawed back: voiding and submitting again is how a funded place is corrected. Applications that were removed are
-- left out, too.
-- A change happened between `last_seen_before`, the start of the last poll that saw the decision before it, and the end
-- of the first that saw the one after it, which started at `seen_at`. It came after a declaration if
--   1. a poll that started after the declaration still saw the decision before it, whatever `updated_at` says; or
--   2. the application was updated after the declaration.
SELECT
    states.id AS application_id,
    declarations.id AS declaration_id,
    declarations.declaration_type,
    declarations.state,
    declarations.created_at AS submitted_at,
    TRY_CAST(states.decision_before AS BOOLEAN) AS funded_place_before,
    TRY_CAST(states.decision AS BOOLEAN) AS funded_place_after,
    states.last_seen_before,
    states.seen_at,
    states.updated_at AS application_updated_at
FROM applications_changes AS states
JOIN applications ON applications.id = states.id
JOIN declarations ON declarations.application_id = states.id
WHERE (declarations.created_at <= states.last_seen_before OR declarations.created_at < states.updated_at)
  AND replace(coalesce(declarations.state, ''), '_', '-') NOT IN ('voided', 'awaiting-clawback', 'clawed-back')
ORDER BY states.id, states.seen_at, declarations.created_at, declarations.id
