package connect_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
	"github.com/sbxrun/sbxrun/pkg/sandbox/kubernetes/internal/connect"
)

const gateways = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways"

var byGateway = connect.Options{Mode: connect.Gateway, GatewayName: "g", GatewayTimeout: 20 * time.Second}

// gatewayAt is a Gateway whose listener is where a server listens; without a server it has no address.
func gatewayAt(s *httptest.Server, protocol, hostname string) string {
	address, port := "", "80"
	if s != nil {
		host, p, err := net.SplitHostPort(s.Listener.Addr().String())
		if err != nil {
			panic(err)
		}
		address, port = fmt.Sprintf(`{"type":"IPAddress","value":%q}`, host), p
	}
	return fmt.Sprintf(`{"kind":"Gateway","apiVersion":"gateway.networking.k8s.io/v1","metadata":{"name":"g","namespace":"default","resourceVersion":"7"},
		"spec":{"gatewayClassName":"class-x","listeners":[{"name":"l","port":%s,"protocol":%q,"hostname":%q}]},
		"status":{"addresses":[%s],"conditions":[{"type":"Programmed","status":"False","reason":"Pending","message":"no load balancer"}]}}`,
		port, protocol, hostname, address)
}

func event(kind, object string) string {
	return fmt.Sprintf(`{"type":%q,"object":%s}`, kind, strings.Join(strings.Fields(object), " "))
}

func TestGatewayWithAnAddress(t *testing.T) {
	w := newWorld(t)
	w.set(gateways+"/g", gatewayAt(w.router, "HTTP", ""))
	c := w.open(t, byGateway)
	for range 3 {
		echoes(t, c)
	}
	if w.last().Get("X-Sandbox-Id") != "sb" {
		t.Errorf("headers %v", w.last())
	}
	if len(w.asked) != 1 {
		t.Errorf("the API server was asked %q", w.asked)
	}
}

func TestGatewayThatGetsItsAddressLater(t *testing.T) {
	w := newWorld(t)
	w.set(gateways+"/g", gatewayAt(nil, "HTTP", ""))
	c := w.open(t, byGateway)
	w.watches <- "end" // watches end now and then
	w.watches <- event("MODIFIED", gatewayAt(nil, "HTTP", ""))
	w.watches <- `{"type":"ERROR","object":` + status(410, "Expired", "too old") + `}`
	w.watches <- event("MODIFIED", gatewayAt(w.router, "HTTP", ""))
	ready := make(chan error)
	for range 5 {
		go func() { ready <- c.Ready(t.Context()) }()
	}
	for range 5 {
		if err := <-ready; err != nil {
			t.Error(err)
		}
	}
	echoes(t, c)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(w.asked, func(s string) bool {
		return strings.Contains(s, "fieldSelector=metadata.name%3Dg") && strings.Contains(s, "resourceVersion=7")
	}) {
		t.Errorf("the watch is not of the one gateway: %q", w.asked)
	}
}

func TestGatewayRefusals(t *testing.T) {
	notFound := `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"details":{"name":"g","group":"gateway.networking.k8s.io","kind":"gateways"},"message":"gateways \"g\" not found"}`
	for name, c := range map[string]struct {
		object  string
		watch   string
		timeout time.Duration
		kind    sandbox.Kind
		says    []string
	}{
		"wrong name": {object: notFound, kind: sandbox.KindUnsupported, says: []string{"default/g", "--gateway-name", "--gateway-namespace"}},
		"no CRD":     {kind: sandbox.KindUnsupported, says: []string{"default/g", "Gateway API"}},
		"forbidden": {
			object: status(403, "Forbidden", `gateways.gateway.networking.k8s.io "g" is forbidden: User "u" cannot get resource "gateways" in API group "gateway.networking.k8s.io" in the namespace "default"`),
			kind:   sandbox.KindUnsupported, says: []string{"gateways", "gateway.networking.k8s.io", "get", "default"},
		},
		"deleted": {
			object: gatewayAt(nil, "HTTP", ""), watch: event("DELETED", gatewayAt(nil, "HTTP", "")),
			kind: sandbox.KindUnsupported, says: []string{"default/g", "deleted"},
		},
		"never": {
			object: gatewayAt(nil, "HTTP", ""), timeout: 100 * time.Millisecond,
			kind: sandbox.KindUnsupported, says: []string{"default/g", "class-x", "100ms", "Pending: no load balancer", "--gateway-timeout"},
		},
		"no listener": {object: gatewayAt(nil, "TCP", ""), kind: sandbox.KindUnsupported, says: []string{"no listener", "default/g"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.object != "" {
				w.set(gateways+"/g", c.object)
			}
			if c.watch != "" {
				w.watches <- c.watch
			}
			o := byGateway
			if c.timeout != 0 {
				o.GatewayTimeout = c.timeout
			}
			fails(t, w.open(t, o).Ready(t.Context()), c.kind, c.says...)
		})
	}
}

func TestTheWaitForAGatewayCanBeCancelled(t *testing.T) {
	w := newWorld(t)
	w.set(gateways+"/g", gatewayAt(nil, "HTTP", ""))
	c := w.open(t, byGateway)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	fails(t, c.Ready(ctx), sandbox.KindUnavailable, "default/g")
}

func TestGatewayWithTLS(t *testing.T) {
	w := newWorld(t)
	certificate, ca := authority(t, "sandboxes.example.test")
	s := httptest.NewUnstartedServer(http.HandlerFunc(w.route))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.StartTLS()
	defer s.Close()
	w.set(gateways+"/g", gatewayAt(s, "HTTPS", "sandboxes.example.test"))

	o := byGateway
	o.CAFile = ca
	c := w.open(t, o)
	echoes(t, c) // the name is the listener's, the address the status'
	r, err := c.Route(t.Context(), target)
	if err != nil || !strings.HasPrefix(r.URL, "https://sandboxes.example.test:") {
		t.Errorf("%q, %v", r.URL, err)
	}
	_, err = post(t, w.open(t, byGateway), "x")
	fails(t, err, sandbox.KindUnsupported, "sandboxes.example.test", "--ca-file")

	w.set(gateways+"/g", gatewayAt(s, "HTTPS", ""))
	_, err = post(t, w.open(t, o), "x")
	fails(t, err, sandbox.KindUnsupported, "127.0.0.1", "by the name")
}

// authority makes a certificate for a name, and a file with the one that signs it, which is itself.
func authority(t *testing.T, name string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
