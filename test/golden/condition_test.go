package golden

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// condition is what scripts may ask for with [NAME]:
//
//	root     they run as root
//	limits   the kernel enforces limits of memory, processes and CPU; where no control group is writable, sbxrun
//	         approximates them and warns
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Getuid() == 0, nil
	case "limits":
		return limits()
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

var limits = sync.OnceValues(func() (bool, error) {
	dir, err := os.MkdirTemp("", "sbxrun-limits-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	recipe := filepath.Join(dir, "recipe.yaml")
	if err := os.WriteFile(recipe, []byte("version: 1\nsteps: [{run: exit 0}]\n"), 0o644); err != nil {
		return false, err
	}
	cmd := exec.Command(filepath.Join(binary, "sbxrun"), recipe)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return false, errors.Join(err, errors.New(string(out)))
	}
	return !strings.Contains(string(out), "warning"), nil
})
