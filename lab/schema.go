package lab

import _ "embed"

//go:embed schema.json
var schema []byte

// Schema is the JSON schema (draft 2020-12) of a lab file, for editors. It says less than Parse: it knows what fields
// there are and what kind of value they have, not whether names exist and addresses fit. The caller must not change it.
func Schema() []byte { return schema }
