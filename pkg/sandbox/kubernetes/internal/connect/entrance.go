package connect

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// listener is a port of a Gateway.
type listener struct {
	Hostname string `json:"hostname"`
	Port     int    `json:"port"`
	Protocol string `json:"protocol"`
}

func (l listener) scheme() string {
	switch l.Protocol {
	case "HTTP", "HTTPS":
		return strings.ToLower(l.Protocol)
	}
	return "" // TCP, UDP, TLS
}

// entrance is where requests go: a listener of a Gateway, at one of its addresses.
type entrance struct {
	listener
	host string // an address of the status
}

// entrance is the first usable address with an https listener, or else with an http one, which beside https is often there
// only to redirect. The first of several is taken. It is nil as long as there is no address.
func (o *gatewayObject) entrance() (*entrance, error) {
	var best *listener
	for i, l := range o.Spec.Listeners {
		s := l.scheme()
		if s != "" && (best == nil || best.scheme() == "http" && s == "https") {
			best = &o.Spec.Listeners[i]
		}
	}
	if best == nil {
		return nil, unsupported("the gateway has no listener for http or https")
	}
	for _, a := range o.Status.Addresses {
		if host, ok := usable(a.Type, a.Value); ok {
			return &entrance{*best, host}, nil
		}
	}
	return nil, nil
}

// usable addresses are an IP address or a host name. An implementation may have types of its own, which only it can read.
func usable(kind, value string) (string, bool) {
	if ip, err := netip.ParseAddr(value); err == nil && (kind == "" || kind == "IPAddress") {
		return ip.String(), true
	}
	name := strings.TrimSuffix(value, ".")
	if (kind == "" || kind == "Hostname") && len(validation.IsDNS1123Subdomain(strings.ToLower(name))) == 0 {
		return name, true
	}
	return "", false
}

// name is what requests and certificates call the gateway: the listener's host name if it is one and no pattern.
func (e *entrance) name() string {
	if e.Hostname == "" || strings.HasPrefix(e.Hostname, "*") {
		return e.host
	}
	return e.Hostname
}

func (e *entrance) named() string   { return net.JoinHostPort(e.name(), strconv.Itoa(e.Port)) }
func (e *entrance) address() string { return net.JoinHostPort(e.host, strconv.Itoa(e.Port)) }

func (e *entrance) parsed() *url.URL {
	host := e.named()
	if e.Port == map[string]int{"http": 80, "https": 443}[e.scheme()] {
		host = strings.TrimSuffix(host, ":"+strconv.Itoa(e.Port))
	}
	return &url.URL{Scheme: e.scheme(), Host: host}
}

func (e *entrance) url() string { return e.parsed().String() }
