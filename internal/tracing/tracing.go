// Package tracing sends the spans of a run to an OpenTelemetry collector, by OTLP over HTTP. The standard variables
// OTEL_EXPORTER_OTLP_*, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER and OTEL_BSP_* say where to and
// how; a TRACEPARENT in the environment is the span that the run belongs to. It is the only package with the SDK in it, and
// nothing of it runs unless a run is traced. What a span is belongs in pkg/executor; that requests carry it on, in providers.
package tracing

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/sbxrun/sbxrun/pkg/event"
	"github.com/sbxrun/sbxrun/pkg/executor"
)

// flushLimit bounds the wait for a collector at the end of a run.
const flushLimit = 5 * time.Second

// Run is the trace of one run.
type Run struct {
	provider *sdk.TracerProvider
	span     span

	mu  sync.Mutex
	err error // the first of the exporter
}

// Start begins the trace of a run. The error says which variable cannot be used.
func Start(ctx context.Context, runID, version string) (*Run, error) {
	r := &Run{}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(r.note))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "sbxrun"), attribute.String("service.version", version),
	), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("tracing: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	r.provider = sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	parent := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{
		"traceparent": os.Getenv("TRACEPARENT"), "tracestate": os.Getenv("TRACESTATE"),
	})
	_, root := r.provider.Tracer("github.com/sbxrun/sbxrun").Start(parent, "run", trace.WithAttributes(attribute.String("sbxrun.run", runID)))
	r.span = span{tracer: r.provider.Tracer("github.com/sbxrun/sbxrun"), span: root}
	return r, nil
}

// Span is the run's.
func (r *Run) Span() executor.Span { return r.span }

// Close ends the run's span and sends what was not sent yet. The error is the first that sending had.
func (r *Run) Close(ctx context.Context, failure string) error {
	r.span.End("", failure)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
	defer cancel()
	r.note(r.provider.Shutdown(ctx))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return fmt.Errorf("spans could not be sent, see OTEL_EXPORTER_OTLP_ENDPOINT: %w", r.err)
	}
	return nil
}

func (r *Run) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// span is an executor.Span.
type span struct {
	tracer trace.Tracer
	span   trace.Span
}

func (s span) In(ctx context.Context) context.Context { return trace.ContextWithSpan(ctx, s.span) }

func (s span) Start(name string, attributes ...string) executor.Span {
	list := make([]attribute.KeyValue, 0, len(attributes)/2)
	for i := 0; i+1 < len(attributes); i += 2 {
		list = append(list, attribute.String("sbxrun."+attributes[i], attributes[i+1]))
	}
	_, child := s.tracer.Start(s.In(context.Background()), name, trace.WithAttributes(list...))
	return span{s.tracer, child}
}

func (s span) End(verdict, message string) {
	if verdict != "" {
		s.span.SetAttributes(attribute.String("sbxrun.verdict", verdict))
	}
	switch {
	case verdict == string(event.Failed) || verdict == string(event.Error) || verdict == "" && message != "":
		s.span.SetStatus(codes.Error, message)
	case verdict == string(event.Passed):
		s.span.SetStatus(codes.Ok, "")
	}
	s.span.End()
}
