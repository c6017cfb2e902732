package connect

import (
	"encoding/json"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

func TestEntrance(t *testing.T) {
	const (
		http  = `{"port":80,"protocol":"HTTP"}`
		https = `{"port":443,"protocol":"HTTPS"}`
		ip4   = `{"type":"IPAddress","value":"192.0.2.7"}`
	)
	for name, c := range map[string]struct {
		listeners, addresses string
		want                 string // empty: none yet
		fails                bool
	}{
		"http":                     {listeners: http, addresses: ip4, want: "http://192.0.2.7"},
		"https":                    {listeners: https, addresses: ip4, want: "https://192.0.2.7"},
		"https before http":        {listeners: http + "," + https, addresses: ip4, want: "https://192.0.2.7"},
		"the first of several":     {listeners: `{"port":8080,"protocol":"HTTP"},` + http, addresses: ip4, want: "http://192.0.2.7:8080"},
		"a port of its own":        {listeners: `{"port":8443,"protocol":"HTTPS"}`, addresses: ip4, want: "https://192.0.2.7:8443"},
		"IPv6":                     {listeners: http, addresses: `{"type":"IPAddress","value":"2001:db8::1"}`, want: "http://[2001:db8::1]"},
		"IPv6 with a port":         {listeners: `{"port":8080,"protocol":"HTTP"}`, addresses: `{"value":"2001:db8::1"}`, want: "http://[2001:db8::1]:8080"},
		"host name":                {listeners: http, addresses: `{"type":"Hostname","value":"lb.example.com"}`, want: "http://lb.example.com"},
		"host name with a dot":     {listeners: http, addresses: `{"type":"Hostname","value":"LB.example.com."}`, want: "http://LB.example.com"},
		"type not said":            {listeners: http, addresses: `{"value":"192.0.2.7"}`, want: "http://192.0.2.7"},
		"listener's name":          {listeners: `{"port":443,"protocol":"HTTPS","hostname":"sandboxes.example.com"}`, addresses: ip4, want: "https://sandboxes.example.com"},
		"listener's pattern":       {listeners: `{"port":443,"protocol":"HTTPS","hostname":"*.example.com"}`, addresses: ip4, want: "https://192.0.2.7"},
		"no address":               {listeners: http},
		"no address that is one":   {listeners: http, addresses: `{"value":""},{"value":"a/b"},{"value":"u@h"},{"value":"h?q"},{"type":"Hostname","value":"a..b"}`},
		"a type of somebody's":     {listeners: http, addresses: `{"type":"example.com/Name","value":"name"}`},
		"the first that is usable": {listeners: http, addresses: `{"type":"NamedAddress","value":"x"},` + ip4, want: "http://192.0.2.7"},
		"TCP only":                 {listeners: `{"port":80,"protocol":"TCP"},{"port":443,"protocol":"TLS"}`, addresses: ip4, fails: true},
		"no listener":              {addresses: ip4, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			var o gatewayObject
			if err := json.Unmarshal([]byte(`{"spec":{"listeners":[`+c.listeners+`]},"status":{"addresses":[`+c.addresses+`]}}`), &o); err != nil {
				t.Fatal(err)
			}
			e, err := o.entrance()
			if c.fails {
				if sandbox.KindOf(err) != sandbox.KindUnsupported || err == nil {
					t.Errorf("error %v", err)
				}
				return
			}
			got := ""
			if e != nil {
				got = e.url()
			}
			if err != nil || got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestInside(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		target  Target
		want    string
		kind    sandbox.Kind
	}{
		"address":    {options: Options{PodIP: true}, target: Target{PodIPs: []string{"10.0.0.7"}, Port: 8888}, want: "http://10.0.0.7:8888"},
		"IPv4 first": {options: Options{PodIP: true}, target: Target{PodIPs: []string{"fd00::1", "10.0.0.7"}, Port: 1}, want: "http://10.0.0.7:1"},
		"IPv6":       {options: Options{PodIP: true}, target: Target{PodIPs: []string{"fd00::1"}, Port: 8888}, want: "http://[fd00::1]:8888"},
		"no address": {options: Options{PodIP: true}, target: Target{PodIPs: []string{"", "x"}}, kind: sandbox.KindUnavailable},
		"name":       {target: Target{Sandbox: "sb", Namespace: "ns", Port: 80, Service: true}, want: "http://sb.ns.svc.cluster.local:80"},
		"domain": {
			options: Options{ClusterDomain: "k8s.example.com."}, target: Target{Sandbox: "sb", Namespace: "ns", Port: 8888, Service: true},
			want: "http://sb.ns.svc.k8s.example.com:8888",
		},
		"no service": {target: Target{Sandbox: "sb", Namespace: "ns", PodIPs: []string{"10.0.0.7"}}, kind: sandbox.KindUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			c.options.Mode = InCluster
			con, err := Open(t.Context(), nil, c.options)
			if err != nil {
				t.Fatal(err)
			}
			r, err := con.Route(t.Context(), c.target)
			if c.want == "" {
				if err == nil || sandbox.KindOf(err) != c.kind {
					t.Errorf("error %v of kind %v, want %v", err, sandbox.KindOf(err), c.kind)
				}
				return
			}
			if err != nil || r.URL != c.want || len(r.Header) != 0 {
				t.Errorf("%q with %v, %v; want %q without headers", r.URL, r.Header, err, c.want)
			}
		})
	}
}

func TestRouterPort(t *testing.T) {
	for want, ports := range map[int]string{
		8080: `[{"port":9090},{"port":8080}]`,
		8000: `[{"port":9090},{"name":"http","port":8000}]`,
		7000: `[{"port":53,"protocol":"UDP"},{"port":7000,"protocol":"TCP"},{"port":7001}]`,
		0:    `[{"port":53,"protocol":"UDP"}]`,
	} {
		var list []discoveryv1.EndpointPort
		if err := json.Unmarshal([]byte(ports), &list); err != nil {
			t.Fatal(err)
		}
		if got := routerPort(list); got != want {
			t.Errorf("%s: %d, want %d", ports, got, want)
		}
	}
}

func TestTokensNeedTLSOnForeignNetworks(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "::1": true, "10.1.2.3": true, "192.168.1.1": true, "fd00::1": true, "router": true,
		"router.agent-sandbox-system.svc": true, "router.agent-sandbox-system.svc.k8s.local": true,
		"8.8.8.8": false, "2001:4860::1": false, "sandboxes.example.com": false, "x.svc.example.com": false, "169.254.169.254": false,
	} {
		if got := private(host, "k8s.local"); got != want {
			t.Errorf("private(%q) = %v", host, got)
		}
	}
}
