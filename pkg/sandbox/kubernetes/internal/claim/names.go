package claim

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// prefix begins the name of everything that a run makes.
	prefix = "sbx-"
	// domain begins labels and annotations.
	domain = "sbxrun.github.io/"
	// labelRun carries the run's ID on everything that a run makes.
	labelRun = domain + "run"
	// labelGroup is on pods. Its domain is the one that Agent Sandbox allows for pod labels of claims by default.
	labelGroup = "sandbox.users.io/sbxrun-group"

	// annotationNonce tells an object from another of its name: see adopt.
	annotationNonce = domain + "nonce"

	labelManaged = "app.kubernetes.io/managed-by"
	managed      = "sbxrun"
)

func labels(run string) map[string]string {
	return map[string]string{labelManaged: managed, labelRun: run}
}

// selector finds what one run made.
func selector(run string) string { return labelManaged + "=" + managed + "," + labelRun + "=" + run }

// digest is short, and good for names and label values.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:5])
}

// longestAnnotation keeps a claim far below the 256 KiB that all annotations together may have.
const longestAnnotation = 4 << 10

// annotations make case and sample readable. Keys become valid ones, values stay the text they are.
func annotations(of map[string]string) map[string]string {
	out := map[string]string{}
	for _, k := range slices.Sorted(maps.Keys(of)) {
		v := strings.ToValidUTF8(of[k], "\uFFFD")
		if len(v) > longestAnnotation {
			v = strings.ToValidUTF8(v[:longestAnnotation], "") + "…"
		}
		out[domain+plain(k)] = v
	}
	return out
}

// plain makes text the name part of a label or annotation key.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '-'
	}, s)
	s = strings.Trim(s[:min(len(s), 63)], "-_.")
	if s == "" {
		return "label"
	}
	return s
}

// named is the metadata of what a run makes.
func (c *Claims) named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: c.o.Cluster.Namespace, Labels: labels(c.o.Run.ID),
		Annotations: map[string]string{annotationNonce: c.nonce(name)},
	}
}

// nonce is the same whenever the run makes an object of that name, and nobody else can tell it.
func (c *Claims) nonce(name string) string { return digest([]byte(c.secret + "=" + name)) }

// owned is named for what the run's Lease owns.
func (c *Claims) owned(name string) metav1.ObjectMeta {
	m := c.named(name)
	m.OwnerReferences = []metav1.OwnerReference{c.lease.owner()}
	return m
}

// joined is a list for people.
func joined(names []string) string { return strings.Join(names, ", ") }
