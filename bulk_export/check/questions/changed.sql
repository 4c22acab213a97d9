-- Applications whose funded place changed after a declaration was submitted for them.
-- One row for each change seen and each declaration before it. Voided declarations are left out, and those
-- clawed back: voiding and submitting again is how a funded place is corrected.
-- A change happened between `last_seen_before` and `seen_at`, both times at which the application was updated.
WITH versions AS (
    SELECT
        id,
        funded_place,
        updated_at,
        lag(funded_place) OVER earlier AS funded_place_before,
        lag(updated_at) OVER earlier AS last_seen_before,
        row_number() OVER earlier AS number
    FROM applications_history
    WINDOW earlier AS (PARTITION BY id ORDER BY updated_at, first_version)
)
SELECT
    versions.id AS application_id,
    declarations.id AS declaration_id,
    declarations.declaration_type,
    declarations.state,
    declarations.created_at AS submitted_at,
    versions.funded_place_before,
    versions.funded_place AS funded_place_after,
    versions.last_seen_before,
    versions.updated_at AS seen_at
FROM versions
JOIN declarations ON declarations.application_id = versions.id
WHERE versions.number > 1
  AND versions.funded_place IS DISTINCT FROM versions.funded_place_before
  AND versions.updated_at > declarations.created_at
  AND replace(coalesce(declarations.state, ''), '_', '-') NOT IN ('voided', 'awaiting-clawback', 'clawed-back')
ORDER BY versions.id, versions.updated_at, declarations.created_at, declarations.id
