package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/sbxrun/sbxrun/pkg/sandbox"
)

// Version is the API server's, like "v1.36.2".
func (c *Cluster) Version(ctx context.Context) (string, error) {
	answer, err := c.raw(ctx, http.MethodGet, "/version", nil)
	if err != nil {
		return "", err
	}
	var v version.Info
	if err := json.Unmarshal(answer, &v); err != nil {
		return "", &sandbox.Error{Op: "open", Kind: sandbox.KindUnsupported, Err: err}
	}
	return v.GitVersion, nil
}

// Get reads an object for which no type is needed.
func (c *Cluster) Get(ctx context.Context, path string) ([]byte, error) {
	return c.raw(ctx, http.MethodGet, path, nil)
}

// Post creates what has no client of its own, such as reviews, and returns the answer.
func (c *Cluster) Post(ctx context.Context, path string, body []byte) ([]byte, error) {
	return c.raw(ctx, http.MethodPost, path, body)
}

func (c *Cluster) raw(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	r, err := c.REST(schema.GroupVersion{Version: "v1"})
	if err != nil {
		return nil, err
	}
	request := r.Verb(method).AbsPath(strings.Split(strings.Trim(path, "/"), "/")...)
	if body != nil {
		request = request.SetHeader("Content-Type", "application/json").Body(bytes.Clone(body))
	}
	answer, err := request.DoRaw(ctx)
	return answer, Classify("open", "", err)
}
