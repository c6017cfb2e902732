package tracing_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/propagation"

	"github.com/sbxrun/sbxrun/internal/tracing"
)

// attributes, a span and a request, as OTLP/JSON has them (opentelemetry-proto, collector/trace/v1).
type attributes []struct {
	Key   string
	Value struct{ StringValue string }
}

type span struct {
	TraceID, SpanID, ParentSpanID, Name string
	Attributes                          attributes
	Status                              struct {
		Code    int // 1: ok, 2: error
		Message string
	}
}

type request struct {
	ResourceSpans []struct {
		Resource   struct{ Attributes attributes }
		ScopeSpans []struct{ Spans []span }
	}
}

func (a attributes) text() string {
	var all []string
	for _, v := range a {
		all = append(all, v.Key+"="+v.Value.StringValue)
	}
	return strings.Join(all, " ")
}

// collect is a collector that keeps what it gets, by the names of spans.
func collect(t *testing.T) func() (spans map[string]span, resource string) {
	t.Helper()
	var mu sync.Mutex
	got, about := map[string]span{}, ""
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var req request
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range req.ResourceSpans {
			about = rs.Resource.Attributes.text()
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					for _, id := range []*string{&s.TraceID, &s.SpanID, &s.ParentSpanID} {
						*id = strings.ToLower(*id) // hexadecimal digits of either case
					}
					got[s.Name] = s
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
	return func() (map[string]span, string) { mu.Lock(); defer mu.Unlock(); return got, about }
}

func TestSpans(t *testing.T) {
	collected := collect(t)
	t.Setenv("TRACEPARENT", "00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "team=a")
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
	all, about := collected()
	run, sampled, stepped := all["run"], all["sample"], all["step"]
	if len(all) != 3 || !strings.Contains(about, "service.name=sbxrun") || !strings.Contains(about, "team=a") {
		t.Fatalf("spans %v of %s", all, about)
	}
	if run.TraceID != "0102030405060708090a0b0c0d0e0f10" || run.ParentSpanID != "1112131415161718" {
		t.Errorf("the run is not in the trace of TRACEPARENT: %+v", run)
	}
	if sampled.ParentSpanID != run.SpanID || stepped.ParentSpanID != sampled.SpanID {
		t.Errorf("not nested: %+v", all)
	}
	if want := "00-" + run.TraceID + "-" + stepped.SpanID + "-01"; header["traceparent"] != want {
		t.Errorf("requests carry %q, want %s", header, want)
	}
	if stepped.Status.Code != 2 || stepped.Status.Message != "exit status 1" || sampled.Status.Code != 1 {
		t.Errorf("%+v, %+v", stepped.Status, sampled.Status)
	}
	if got := sampled.Attributes.text() + " " + stepped.Attributes.text(); got != "sbxrun.case=a sbxrun.sample=1 sbxrun.verdict=passed sbxrun.step=build sbxrun.verdict=failed" {
		t.Errorf("attributes %s", got)
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
