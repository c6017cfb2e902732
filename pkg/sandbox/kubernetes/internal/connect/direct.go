package connect

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// dialTimeout is for one address to accept a connection.
const dialTimeout = 10 * time.Second

// direct is a URL that leads to a router.
type direct struct {
	fixed
	base string
}

func newDirect(o Options) (*direct, error) {
	if o.APIURL == "" {
		return nil, invalid("--connection direct needs --api-url, the URL of the router")
	}
	u, err := url.Parse(o.APIURL)
	switch {
	case err != nil:
		return nil, invalid("--api-url: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, invalid("--api-url %q is not a URL such as https://sandboxes.example.com", o.APIURL)
	case u.User != nil:
		return nil, invalid("--api-url has a user or a password in it: they are not sent; give a bearer token with --token-file")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, invalid("--api-url %q has a query or a fragment, which requests of their own cannot keep", o.APIURL)
	}
	if err := guardToken(o, u); err != nil {
		return nil, err
	}
	return &direct{fixed{net.Dialer{Timeout: dialTimeout}}, strings.TrimRight(u.String(), "/")}, nil
}

func (d *direct) url(Target) (string, error) { return d.base, nil }

// guardToken refuses to send a token that everybody on the way can read.
func guardToken(o Options, u *url.URL) error {
	if o.TokenFile == "" || u.Scheme == "https" || private(u.Hostname(), o.ClusterDomain) {
		return nil
	}
	return invalid("the token of --token-file is not sent to %s without TLS: use https, or leave --token-file out", u.Redacted())
}

// private hosts are of this machine, of a private network, or of the cluster.
func private(host, clusterDomain string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback() || ip.IsPrivate()
	}
	return host == "localhost" || !strings.Contains(host, ".") ||
		strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".svc."+clusterDomain)
}
