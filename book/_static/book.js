// Draws the interactive figures of a page when they scroll into view.
// plotly.js (5 MB) is fetched from this site's own folder, and only when the first figure is near.
(function () {
  "use strict";
  var root = document.documentElement;
  var library = null;
  var NARROW = 600; // pixels of a figure from which its legend has room beside it
  // What no figure may change: nothing of it leaves the page, by whatever button.
  var CONFIG = {
    displaylogo: false,
    responsive: true,
    scrollZoom: false,
    showSendToCloud: false,
    plotlyServerURL: "",
    modeBarButtonsToRemove: ["sendChartToCloud", "lasso2d", "select2d"]
  };

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

  function draw(box) {
    var figure = JSON.parse(box.querySelector("script").textContent);
    var layout = Object.assign({}, figure.layout, { autosize: true });
    delete layout.width; // as wide as the page
    plotly().then(function (Plotly) {
      box.replaceChildren();
      return Plotly.newPlot(box, {
        data: figure.data, layout: layout, frames: figure.frames,
        config: Object.assign({}, figure.config, CONFIG)
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
  });
})();
