-- Declarations whose application has no decision on the funded place.
-- `decision` is the funded place as text; a value that is no boolean counts as one.
-- Voided ones are left out, and those clawed back: they were voided after payment.
SELECT
    declarations.id AS declaration_id,
    declarations.declaration_type,
    declarations.state,
    declarations.created_at AS submitted_at,
    applications.id AS application_id,
    applications.updated_at AS application_updated_at
FROM declarations
JOIN applications ON applications.id = declarations.application_id
WHERE applications.decision IS NULL
  AND replace(coalesce(declarations.state, ''), '_', '-') NOT IN ('voided', 'awaiting-clawback', 'clawed-back')
ORDER BY declarations.created_at, declarations.id
