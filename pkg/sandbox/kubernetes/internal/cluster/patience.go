package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// DefaultPatience is how long a request is repeated while the API server is away, too busy or failing.
const DefaultPatience = time.Minute

type patienceKey struct{}

// Patience returns a context whose requests are repeated for d, instead of DefaultPatience. The context's own end
// comes first.
func Patience(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, d)
}

// Away is the error of a request that got no answer for as long as there was patience.
type Away struct {
	Err   error // of the last try
	After time.Duration
}

// Error has no Unwrap beside it: client-go would start over for what it knows to be temporary.
func (a *Away) Error() string {
	return fmt.Sprintf("no answer from the API server for %v: %v", a.After.Round(time.Second), a.Err)
}

// tries is what the tries of one request share.
type tries struct {
	start   time.Time
	last    error // why the last one has to be repeated
	refused bool  // by a 401
}

type triesKey struct{}

// patient repeats requests, each of which must be one that may be sent twice. 429 and 503 with Retry-After are
// repeated when that says.
func patient(next http.RoundTripper) http.RoundTripper {
	c := retryablehttp.NewClient()
	c.Logger = nil
	c.HTTPClient = &http.Client{
		Transport:     next,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.RetryMax = math.MaxInt32 // patience ends it
	c.RetryWaitMin, c.RetryWaitMax = 100*time.Millisecond, 2*time.Second
	c.CheckRetry = again
	c.Backoff = func(lo, hi time.Duration, attempt int, r *http.Response) time.Duration {
		d := max(lo, retryablehttp.DefaultBackoff(lo, hi, attempt, r)) // Retry-After: 0 is no reason to spin
		return d + rand.N(d/2+1)                                       // many wait for the same server
	}
	c.ErrorHandler = retryablehttp.PassthroughErrorHandler
	return &retrying{&retryablehttp.RoundTripper{Client: c}, next}
}

type retrying struct {
	rt   http.RoundTripper
	next http.RoundTripper
}

func (r *retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, t := req.Context(), &tries{start: time.Now()}
	resp, err := r.rt.RoundTrip(req.WithContext(context.WithValue(ctx, triesKey{}, t)))
	if err != nil {
		if resp != nil {
			_ = resp.Body.Close()
		}
		switch {
		case ctx.Err() == nil && temporary(err):
			err = &Away{err, time.Since(t.start)}
		case ctx.Err() != nil && t.last != nil:
			err = fmt.Errorf("%w; until then: %s", ctx.Err(), t.last.Error()) // which is not what ended it
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 {
		resp.Header.Del("Retry-After") // it was obeyed; client-go would begin again
	}
	return resp, nil
}

// WrappedRoundTripper lets client-go find the transport below, to close its connections.
func (r *retrying) WrappedRoundTripper() http.RoundTripper { return r.next }

func again(ctx context.Context, r *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	limit := DefaultPatience
	if d, ok := ctx.Value(patienceKey{}).(time.Duration); ok {
		limit = d
	}
	t, ok := ctx.Value(triesKey{}).(*tries)
	if ok && time.Since(t.start) > limit {
		return false, nil
	}
	if err != nil && !temporary(err) {
		return false, nil
	}
	if ok && err == nil && r.StatusCode == http.StatusUnauthorized {
		// client-go takes a 401 as the end of what a credential plugin gave, and asks it again for the next request.
		first := !t.refused
		t.refused = true
		return first, nil
	}
	repeat, _ := retryablehttp.DefaultRetryPolicy(ctx, r, err)
	if repeat && ok {
		if t.last = err; err == nil {
			t.last = fmt.Errorf("the API server answered %s", r.Status)
		}
	}
	return repeat, nil
}

// temporary tells a server that is away from one that is not there, or not trusted, or that cannot be asked.
func temporary(err error) bool {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return false
	}
	if strings.Contains(err.Error(), "getting credentials: ") { // a credential plugin of the kubeconfig
		return false
	}
	if _, ok := errors.AsType[*url.Error](err); !ok { // the form in which the policy knows untrusted certificates
		err = &url.Error{Err: err}
	}
	again, _ := retryablehttp.DefaultRetryPolicy(context.Background(), nil, err)
	return again
}
