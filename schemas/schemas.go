// Package schemas holds the JSON Schemas of what sbxrun reads and writes, as published files and embedded. It has no
// logic: pkg/recipe checks recipes with Recipe, and "sbxrun schema" prints both.
package schemas

import _ "embed"

// Recipe is the JSON Schema (draft 2020-12) of a recipe. A title is what a message says was expected there.
//
//go:embed recipe.schema.json
var Recipe string

// Events is the JSON Schema (draft 2020-12) of a line of events.jsonl.
//
//go:embed events.schema.json
var Events string
