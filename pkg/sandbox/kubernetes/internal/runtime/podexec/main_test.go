package podexec

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// An executor that was cancelled pings its closed connection once more, after up to 5 s.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("k8s.io/client-go/tools/remotecommand.(*heartbeat).start"))
}
