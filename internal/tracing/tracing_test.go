package tracing_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/sbxrun/sbxrun/internal/tracing"
)

// collect is a collector that keeps what it gets.
func collect(t *testing.T) (spans func() map[string]*traces.Span, service func() string) {
	t.Helper()
	var mu sync.Mutex
	got, name := map[string]*traces.Span{}, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &request)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range request.ResourceSpans {
			for _, a := range rs.Resource.Attributes {
				if a.Key == "service.name" {
					name = a.Value.GetStringValue()
				}
			}
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					got[s.Name] = s
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	return func() map[string]*traces.Span { mu.Lock(); defer mu.Unlock(); return got },
		func() string { mu.Lock(); defer mu.Unlock(); return name }
}

func TestSpans(t *testing.T) {
	spans, service := collect(t)
	t.Setenv("TRACEPARENT", "00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01")
	r, err := tracing.Start(t.Context(), "r1", "v1")
	if err != nil {
		t.Fatal(err)
	}
	sample := r.Span().Start("sample", "case", "a", "sample", "1")
	step := sample.Start("step", "step", "build")
	header := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(step.In(context.Background()), header)
	step.End("failed", "exit status 1")
	sample.End("passed", "")
	if err := r.Close(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	all := spans()
	if len(all) != 3 || service() != "sbxrun" {
		t.Fatalf("%d spans of %s: %v", len(all), service(), all)
	}
	run, sampled, stepped := all["run"], all["sample"], all["step"]
	if string(run.TraceId) != "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10" || string(run.ParentSpanId) != "\x11\x12\x13\x14\x15\x16\x17\x18" {
		t.Errorf("the run is not in the trace of TRACEPARENT: %v", run)
	}
	if string(sampled.ParentSpanId) != string(run.SpanId) || string(stepped.ParentSpanId) != string(sampled.SpanId) {
		t.Errorf("not nested: %v", all)
	}
	if want := "00-0102030405060708090a0b0c0d0e0f10-"; !strings.HasPrefix(header["traceparent"], want) {
		t.Errorf("requests carry %q", header)
	}
	if stepped.Status.Code != traces.Status_STATUS_CODE_ERROR || stepped.Status.Message != "exit status 1" || sampled.Status.Code != traces.Status_STATUS_CODE_OK {
		t.Errorf("%v, %v", stepped.Status, sampled.Status)
	}
	attributes := map[string]string{}
	for _, a := range append(sampled.Attributes, stepped.Attributes...) {
		attributes[a.Key] += a.Value.GetStringValue()
	}
	if attributes["sbxrun.case"] != "a" || attributes["sbxrun.step"] != "build" || attributes["sbxrun.verdict"] != "passedfailed" {
		t.Errorf("%v", attributes)
	}
}

func TestCollectorThatIsNotThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
	server.Close()
	r, err := tracing.Start(t.Context(), "r1", "v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_ENDPOINT") {
		t.Errorf("error %v", err)
	}
}
