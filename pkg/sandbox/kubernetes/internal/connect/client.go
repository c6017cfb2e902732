package connect

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"k8s.io/client-go/transport"
)

// newClient makes the one client of a connector. dial is for its connections, or those to a proxy.
func newClient(o Options, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*http.Client, error) {
	roots, err := trusted(o.CAFile)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConnsPerHost:    512, // requests of hundreds of sandboxes go to one router
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         32 << 10,
		WriteBufferSize:        32 << 10,
		DisableCompression:     true,
	}
	switch o.Mode {
	case Gateway, Direct:
		t.Proxy = http.ProxyFromEnvironment
	case InCluster:
		t.MaxIdleConnsPerHost = 8 // of one sandbox
		// Uvicorn closes what was idle for 5 s; a request that meets that end would be lost.
		t.IdleConnTimeout = 4 * time.Second
	}
	var rt http.RoundTripper = t
	if o.TokenFile != "" && o.Mode != InCluster {
		if _, err := readable("--token-file", o.TokenFile); err != nil {
			return nil, err
		}
		rt = transport.ResettableTokenSourceWrapTransport(transport.NewCachedFileTokenSource(o.TokenFile))(rt)
	}
	return &http.Client{
		Transport: &annotated{rt, t, o},
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			from := via[len(via)-1]
			return &RedirectError{to.Response.StatusCode, from.URL.Redacted(), to.URL.Redacted()}
		},
	}, nil
}

// trusted is nil, the system's certificates, without a file.
func trusted(file string) (*x509.CertPool, error) {
	pem, err := readable("--ca-file", file)
	if err != nil || file == "" {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a machine without any
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, invalid("--ca-file: %s has no certificate in PEM", file)
	}
	return roots, nil
}

// annotated adds what differs from request to request, and tells errors that will stay from those that may pass.
type annotated struct {
	next http.RoundTripper
	base *http.Transport
	opts Options
}

func (a *annotated) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	req = req.Clone(ctx)
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header))
	req.Header.Set("X-Request-ID", rand.Text())
	if deadline, ok := ctx.Deadline(); ok && a.opts.Mode != InCluster {
		if left := time.Until(deadline); left > 0 {
			req.Header.Set("X-Sandbox-Timeout", strconv.FormatFloat(left.Seconds(), 'f', 3, 64))
		}
	}
	resp, err := a.next.RoundTrip(req)
	if err != nil {
		return nil, a.explain(req, err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols { // nothing ends a Read from it any more, no deadline either
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s answers in another protocol (101), which nobody asked for", req.URL.Host)
	}
	return resp, nil
}

// CloseIdleConnections is for http.Client's method of that name.
func (a *annotated) CloseIdleConnections() { a.base.CloseIdleConnections() }

func (a *annotated) explain(req *http.Request, err error) error {
	host := req.URL.Host
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return unsupported("%s does not speak TLS; if it is meant to, correct its port, else use http: %w", host, record)
	}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	dns, unknown := errors.AsType[*net.DNSError](err)
	unknown = unknown && dns.IsNotFound
	switch {
	case certificate:
		return unsupported("the certificate of %s is not trusted: name the certificates that sign it with --ca-file, and reach it by the name that it is for: %w", host, err)
	case unknown && a.opts.Mode == InCluster:
		// The name of a new Service takes a moment.
		return fmt.Errorf("%w (such names exist in pods of the cluster only; is %q its --cluster-domain?)", err, a.opts.ClusterDomain)
	case unknown && a.opts.Mode == Direct:
		return unsupported("the host of --api-url is not known: %w", err)
	}
	return err
}
