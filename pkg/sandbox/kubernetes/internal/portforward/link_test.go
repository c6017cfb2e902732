package portforward

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func TestALinkThatIsSilentEnds(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	l := newLink(here, 50*time.Millisecond)
	if _, err := l.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Read: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestALinkThatNobodyReadsStays(t *testing.T) {
	here, there := net.Pipe()
	l := newLink(here, 20*time.Millisecond)
	defer l.Close()
	go there.Write([]byte("xy"))
	for range 2 {
		if _, err := io.ReadFull(l, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(60 * time.Millisecond) // a reader that is busy with something else
	}
}
