package local

import (
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// A process whose first thread has ended is shown as a zombie, and is killed like any other.
func TestTimeoutReachesOtherThreads(t *testing.T) {
	const program = `
import ctypes, threading, time
libc = ctypes.CDLL(None)
threading.Thread(target=lambda: time.sleep(1000)).start()
libc.pthread_exit(None)
`
	for _, isolation := range []sandbox.Isolation{sandbox.IsolationNamespaces, sandbox.IsolationNone} {
		t.Run(string(isolation), func(t *testing.T) {
			sb := acquire(t, sandbox.Spec{Local: sandbox.Local{Isolation: isolation}})
			res, err := sb.Exec(t.Context(), sandbox.Command{Argv: []string{"python3", "-c", program}, Timeout: 500 * time.Millisecond}, nil, nil)
			if err != nil || res.Limit != sandbox.LimitTimeout {
				t.Errorf("%+v, %v, want killed by the timeout", res, err)
			}
		})
	}
}
