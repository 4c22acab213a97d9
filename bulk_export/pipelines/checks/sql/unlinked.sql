-- Declarations whose application or participant is not in the copy, or that name none.
-- Voided ones too: they should have both all the same.
SELECT
    declarations.id AS declaration_id,
    declarations.declaration_type,
    declarations.state,
    declarations.application_id,
    applications.id IS NULL AS application_missing,
    declarations.participant_id,
    participants.id IS NULL AS participant_missing
FROM declarations
LEFT JOIN applications ON applications.id = declarations.application_id
LEFT JOIN participants ON participants.id = declarations.participant_id
WHERE applications.id IS NULL
   OR participants.id IS NULL
ORDER BY declarations.created_at, declarations.id
