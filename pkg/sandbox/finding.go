package sandbox

// Finding is one thing that a provider's package found out about the machine, or the cluster, that its sandboxes need.
type Finding struct {
	Name   string // what was looked at, such as "user namespaces"
	State  State
	Detail string // one line: what was found
	Remedy string // what to do about it; empty where there is nothing to do
}

// State says what a Finding means for sandboxes.
type State string

// The states of a Finding.
const (
	OK      State = "ok"
	Weaker  State = "weaker"  // sandboxes work, with something approximated
	Blocked State = "blocked" // sandboxes cannot be made
)
