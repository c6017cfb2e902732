// Package userns explains why this machine does not let this process make the namespaces of a sandbox, and what to do
// about it. It decides nothing on the way to a working sandbox: Explain is for after a real attempt failed, Check for a
// report on the machine.
package userns
