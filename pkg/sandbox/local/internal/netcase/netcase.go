// Package netcase connects sandboxes that have a network namespace each, so that those of one group reach each other by
// IPv4 and nothing else: each group has a hub, a network namespace of its own that holds a bridge and no process, and
// each sandbox has one veth into it. There is no route, no uplink and no address in the hub, so nothing leads out. All
// of it lives as long as its namespaces: when the process that holds the Groups and the sandboxes die, the kernel
// removes everything. Making the sandbox's network namespace is the caller's.
package netcase
