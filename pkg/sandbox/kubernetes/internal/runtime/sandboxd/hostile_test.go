package sandboxd

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	processv1 "sigs.k8s.io/agent-sandbox/packages/sandboxd/spec/process/v1"
)

// impostor is code of the sandbox in the daemon's place.
type impostor struct {
	processv1.UnimplementedProcessServiceServer
	says string
}

func (i impostor) Execute(context.Context, *processv1.ExecuteRequest) (*processv1.ExecuteResponse, error) {
	return nil, status.Error(codes.Internal, i.says)
}

// Start never ends and never stops printing.
func (i impostor) Start(_ *processv1.StartRequest, s processv1.ProcessService_StartServer) error {
	out := &processv1.StartResponse{Event: &processv1.StartResponse_Stdout{Stdout: make([]byte, 1<<20)}}
	for {
		if err := s.Send(out); err != nil {
			return err
		}
	}
}

func (i impostor) WriteStdin(context.Context, *processv1.WriteStdinRequest) (*processv1.WriteStdinResponse, error) {
	return &processv1.WriteStdinResponse{}, nil
}

func TestAnImpostor(t *testing.T) {
	for _, says := range []string{"\x1b]0;evil\a" + strings.Repeat("x", 10<<10), strings.Repeat("\n", 1<<20)} {
		box := open(t, serve(t, func(g *grpc.Server) { processv1.RegisterProcessServiceServer(g, impostor{says: says}) }))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := box.Run(ctx, []string{"true"}); err == nil || len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\x1b\a") {
			t.Errorf("%.300q", err)
		}
		if path, err := box.Upload(ctx, "x", []byte("data")); err == nil {
			t.Errorf("stored as %q", path)
		}
	}
}
