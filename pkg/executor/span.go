package executor

import (
	"context"

	"github.com/sbxrun/sbxrun/internal/mask"
)

// Span is something that takes time, for those who trace runs: the run is one (see Options.Span), in it are samples, in
// these acquire, step and release.
type Span interface {
	// Start begins a part of the span. Attributes are names and values in turn.
	Start(name string, attributes ...string) Span
	// In returns ctx as what is done in the span sees it; the provider's requests carry it on.
	In(ctx context.Context) context.Context
	// End ends the span. The verdict is empty where there is none; message says what went wrong, if anything.
	End(verdict, message string)
}

// untraced is a Span of which nobody hears.
type untraced struct{}

func (s untraced) Start(string, ...string) Span         { return s }
func (untraced) In(ctx context.Context) context.Context { return ctx }
func (untraced) End(string, string)                     {}

// maskedSpan keeps secrets out of what is told of a span.
type maskedSpan struct {
	Span
	mask *mask.Mask
}

func (s maskedSpan) Start(name string, attributes ...string) Span {
	for i := 1; i < len(attributes); i += 2 {
		attributes[i] = s.mask.Text(attributes[i])
	}
	return maskedSpan{s.Span.Start(name, attributes...), s.mask}
}

func (s maskedSpan) End(verdict, message string) { s.Span.End(verdict, s.mask.Text(message)) }

// endSpan ends a span with an error, or without.
func endSpan(s Span, err error) {
	message := ""
	if err != nil {
		message = cause(err).Error()
	}
	s.End("", message)
}
