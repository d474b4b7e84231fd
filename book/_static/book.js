// Draws the interactive figures of a page when they scroll into view, in the colours of the reader's theme.
// plotly.js (5 MB) is fetched from this site's own folder, and only when the first figure is near.
(function () {
  "use strict";
  var root = document.documentElement;
  var library = null;

  function plotly() {
    library = library || new Promise(function (resolve, reject) {
      var script = document.createElement("script");
      script.src = (root.dataset.content_root || "./") + "_static/plotly/plotly.min.js";
      script.onload = function () { resolve(window.Plotly); };
      script.onerror = function () { reject(new Error("plotly.js could not be loaded")); };
      document.head.appendChild(script);
    });
    return library;
  }

  function colours() {
    var dark = root.dataset.theme === "dark";
    return {
      text: dark ? "#d6dae0" : "#2b3440",
      grid: dark ? "#3a424d" : "#e3e7ec",
      line: dark ? "#5b6673" : "#aab3bf",
      panel: dark ? "#222832" : "#ffffff",
      active: dark ? "#3b4759" : "#e8eef6"
    };
  }

  // the figure's own layout with colours of paper, text and grid replaced; data and their colours stay
  function themed(layout) {
    var c = colours();
    var next = Object.assign({}, layout, {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
      font: Object.assign({}, layout.font, { color: c.text }),
      hoverlabel: Object.assign({}, layout.hoverlabel, {
        bgcolor: c.panel, bordercolor: c.line, font: { color: c.text }
      }),
      legend: Object.assign({}, layout.legend, { bgcolor: "rgba(0,0,0,0)" })
    });
    delete next.width;
    ["xaxis", "yaxis"].forEach(function (axis) { next[axis] = next[axis] || {}; });
    Object.keys(next).filter(function (key) { return /^[xy]axis\d*$/.test(key); }).forEach(function (key) {
      next[key] = Object.assign({}, next[key], {
        gridcolor: c.grid, zerolinecolor: c.line, linecolor: c.line, tickcolor: c.line
      });
    });
    ["sliders", "updatemenus"].forEach(function (kind) {
      next[kind] = (layout[kind] || []).map(function (control) {
        return Object.assign({}, control, {
          font: Object.assign({}, control.font, { color: c.text }),
          bgcolor: c.panel, bordercolor: c.line, activebgcolor: c.active, tickcolor: c.line
        });
      });
    });
    return next;
  }

  function draw(box) {
    var figure = JSON.parse(box.querySelector("script").textContent);
    figure.layout = figure.layout || {};
    plotly().then(function (Plotly) {
      box.replaceChildren();
      return Plotly.newPlot(box, {
        data: figure.data, layout: themed(figure.layout), frames: figure.frames,
        config: Object.assign({ displaylogo: false, responsive: true, scrollZoom: false }, figure.config)
      });
    }).then(function () { box.dataset.drawn = "yes"; }).catch(function (error) {
      box.textContent = "This figure could not be drawn: " + error.message;
    });
  }

  document.addEventListener("DOMContentLoaded", function () {
    var boxes = document.querySelectorAll(".afd-figure");
    if (!boxes.length) { return; }
    var seen = new IntersectionObserver(function (entries) {
      entries.filter(function (entry) { return entry.isIntersecting; }).forEach(function (entry) {
        seen.unobserve(entry.target);
        draw(entry.target);
      });
    }, { rootMargin: "600px" });
    boxes.forEach(function (box) { seen.observe(box); });
    // a change of theme recolours what is drawn, and leaves sliders and legends where the reader put them
    new MutationObserver(function () {
      document.querySelectorAll(".afd-figure[data-drawn]").forEach(function (box) {
        var next = themed(box.layout);
        next.sliders = (box.layout.sliders || []).map(function (slider, i) {
          return Object.assign({}, next.sliders[i], { active: slider.active });
        });
        window.Plotly.relayout(box, next);
      });
    }).observe(root, { attributes: true, attributeFilter: ["data-theme"] });
  });
})();
