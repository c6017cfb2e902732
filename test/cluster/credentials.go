package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

// authority signs the certificates of one cluster. Its own, state/pki/ca.crt, is what clients trust: that of the API
// server and that of the gateway.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// makeCredentials makes the authority, the API server's certificate, the key of service account tokens, and two users
// with all rights: `component` for what belongs to the cluster, `admin` for who uses it, so that the audit log can leave
// the former out.
func (c *cluster) makeCredentials(context.Context) error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	if err := c.writePEM("ca.crt", "CERTIFICATE", ca.cert.Raw); err != nil {
		return err
	}
	if err := c.issue(ca, "apiserver", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc."+domain, "localhost", "127.0.0.1", nodeIP, apiIP); err != nil {
		return err
	}
	if err := c.issue(ca, "gateway", "gateway.agent-sandbox-system.svc."+domain, gatewayIP); err != nil {
		return err
	}
	tokens, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	if err := c.writePEM("sa.key", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(tokens)); err != nil {
		return err
	}
	var known strings.Builder
	for user, file := range map[string]string{"component": "component.kubeconfig", "admin": "kubeconfig"} {
		token := rand.Text()
		fmt.Fprintf(&known, "%s,%s,%s,system:masters\n", token, user, user)
		if err := c.write(file, kubeconfig(ca, user, token)); err != nil {
			return err
		}
	}
	return c.write("pki/tokens.csv", []byte(known.String()))
}

func kubeconfig(ca *authority, user, token string) []byte {
	trusted := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}))
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: %[1]s, cluster: {server: "https://%[2]s:6443", certificate-authority-data: %[3]s}}]
users: [{name: %[4]s, user: {token: %[5]s}}]
contexts: [{name: %[1]s, context: {cluster: %[1]s, user: %[4]s}}]
current-context: %[1]s
`, namespace, nodeIP, trusted, user, token)
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate(namespace + " authority")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{key, cert}, err
}

// issue writes NAME.crt and NAME.key for a server that is called by these names and addresses.
func (c *cluster) issue(ca *authority, name string, called ...string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := certificate(name)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	for _, n := range called {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	if err := c.writePEM(name+".crt", "CERTIFICATE", der); err != nil {
		return err
	}
	return c.writePEM(name+".key", "EC PRIVATE KEY", private)
}

func certificate(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // crypto/rand does not fail
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
}

func (c *cluster) writePEM(name, kind string, der []byte) error {
	return c.write("pki/"+name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
