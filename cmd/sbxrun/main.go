// Command sbxrun runs YAML recipes in sandboxes.
package main

import (
	"os"

	"github.com/sbxrun/sbxrun/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
