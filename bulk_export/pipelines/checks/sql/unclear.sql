-- Changes of a funded place that the first poll after a declaration saw, while the application says that it was updated
-- before. Either it was, as it should be, or the change was committed late: the polls cannot tell. The declaration may
-- also have come during that poll, which takes long where it was interrupted and gone on with later.
SELECT
    states.id AS application_id,
    declarations.id AS declaration_id,
    declarations.created_at AS submitted_at,
    states.last_seen_before,
    states.seen_at,
    states.updated_at AS application_updated_at
FROM applications_changes AS states
JOIN applications ON applications.id = states.id
JOIN declarations ON declarations.application_id = states.id
WHERE states.last_seen_before < declarations.created_at
  AND states.seen_until > declarations.created_at
  AND states.updated_at <= declarations.created_at
  AND replace(coalesce(declarations.state, ''), '_', '-') NOT IN ('voided', 'awaiting-clawback', 'clawed-back')
ORDER BY states.id, states.seen_at, declarations.created_at, declarations.id
