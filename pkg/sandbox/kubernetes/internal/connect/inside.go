package connect

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// inside is the way from a pod of the same cluster: no router, no token.
type inside struct {
	fixed
	podIP  bool
	domain string
}

func newInside(o Options) (*inside, error) {
	if problems := validation.IsDNS1123Subdomain(o.ClusterDomain); len(problems) > 0 {
		return nil, invalid("--cluster-domain %q is not a domain: %s", o.ClusterDomain, problems[0])
	}
	return &inside{fixed{net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}}, o.PodIP, o.ClusterDomain}, nil
}

func (i *inside) url(t Target) (string, error) {
	port := strconv.Itoa(t.Port)
	if !i.podIP {
		if !t.Service {
			return "", unsupported("sandbox %s/%s has no Service, and so no name in the cluster's DNS: reach it by its address with --pod-ip, or set `service: true` in its SandboxTemplate", t.Namespace, t.Sandbox)
		}
		return fmt.Sprintf("http://%s.%s.svc.%s", t.Sandbox, t.Namespace, net.JoinHostPort(i.domain, port)), nil
	}
	ip := podIP(t.PodIPs)
	if ip == "" {
		return "", unavailable("sandbox %s/%s has no address of a pod in its status: %q", t.Namespace, t.Sandbox, t.PodIPs)
	}
	return "http://" + net.JoinHostPort(ip, port), nil
}

// podIP is the address to use of several: the first IPv4 address, else the first valid one.
func podIP(ips []string) string {
	first := ""
	for _, s := range ips {
		ip, err := netip.ParseAddr(s)
		if err != nil {
			continue
		}
		if ip = ip.Unmap(); ip.Is4() {
			return ip.String()
		}
		if first == "" {
			first = ip.String()
		}
	}
	return first
}
