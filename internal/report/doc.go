// Package report shows runs: live sinks (event log, results.jsonl, console), and reports that are functions of
// recorded logs alone (results.jsonl, report.json, junit.xml, GitHub's job summary and annotations). What an event is
// and how events fold to a summary belongs in pkg/event; which files a command asks for, and the exit status, in the
// command line.
package report
