package sandboxd

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	processv1 "sigs.k8s.io/agent-sandbox/packages/sandboxd/spec/process/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/shell"
)

// chunk is how much of an input goes in one message: where the process does not take it, that shows soon. gRPC servers take
// 4 MiB where they do not say otherwise.
const chunk = 256 << 10

// feed runs argv with data as its input.
func feed(ctx context.Context, c processv1.ProcessServiceClient, argv []string, data []byte) (output, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Start(ctx, &processv1.StartRequest{Config: &processv1.ProcessConfig{Command: argv}})
	if err != nil {
		return output{}, err
	}
	first, err := stream.Recv()
	if err != nil {
		return output{}, err
	}
	written := make(chan error, 1)
	go func() {
		err := write(ctx, c, first.GetInit().GetProcessId(), data)
		if !over(err) {
			cancel() // it waits for an input that does not come
		}
		written <- err
	}()
	var out output
	err = out.read(stream)
	cancel()
	if unwritten := <-written; err != nil && !over(unwritten) {
		return out, unwritten
	}
	return out, err
}

// over says whether a write failed, if at all, since the process had ended, or read no more: its status says why.
func over(err error) bool {
	c := status.Code(err)
	return c == codes.OK || c == codes.NotFound || c == codes.Internal || c == codes.Canceled
}

// write gives a process its whole input, and the end of it.
func write(ctx context.Context, c processv1.ProcessServiceClient, process int32, data []byte) error {
	for len(data) > 0 {
		n := min(chunk, len(data))
		one, stop := context.WithTimeout(ctx, shell.UploadLimit(n))
		_, err := c.WriteStdin(one, &processv1.WriteStdinRequest{ProcessId: process, Payload: &processv1.WriteStdinRequest_Input{Input: data[:n]}})
		stop()
		if err != nil {
			return err
		}
		data = data[n:]
	}
	_, err := c.WriteStdin(ctx, &processv1.WriteStdinRequest{ProcessId: process, Payload: &processv1.WriteStdinRequest_Eof{Eof: &emptypb.Empty{}}})
	return err
}

// output is what a process printed, and how it ended.
type output struct {
	stdout, stderr []byte
	exit           int
	ended          bool
}

// mostOutput bounds what is kept of a process whose output is a line.
const mostOutput = 64 << 10

// read reads to the end of the process.
func (o *output) read(stream processv1.ProcessService_StartClient) error {
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) && o.ended {
			return nil
		}
		if err != nil {
			return err
		}
		switch e := r.GetEvent().(type) {
		case *processv1.StartResponse_Stdout:
			o.stdout = keep(o.stdout, e.Stdout)
		case *processv1.StartResponse_Stderr:
			o.stderr = keep(o.stderr, e.Stderr)
		case *processv1.StartResponse_Exit:
			o.exit, o.ended = exit(e.Exit.GetExitCode()), true
		}
	}
}

func keep(b, more []byte) []byte { return append(b, more[:min(len(more), mostOutput-len(b))]...) }

// exit is the status as a shell tells it. The daemon says -1 where a signal ended the process, and not which: it is
// KILL where nobody sent one on purpose.
func exit(code int32) int {
	if code < 0 {
		return 128 + 9
	}
	return int(code)
}
