// Package render prints what the agent's API says: aligned tables with colours for people, and JSON, YAML and CSV for
// programs.
//
// It owns every word and column that commands print of the API's types. It never talks to an agent and never decides
// anything: what is not in a type of api/agent cannot be printed. Text that comes from files and packets is printed
// without its control characters.
//
// Read printer.go first, then table.go; each of the other files is one kind of output.
package render
