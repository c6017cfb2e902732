package executor

import "context"

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

// endSpan ends a span with an error, or without.
func endSpan(s Span, err error) {
	message := ""
	if err != nil {
		message = cause(err).Error()
	}
	s.End("", message)
}
