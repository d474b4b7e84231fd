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
    typesetMath: false, // a text with two dollar signs is a text
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

  // On a phone the legend stands below the panels, which have the whole width, and the bar is left out: a
  // finger cannot hover, and the bar would lie over the figure's own buttons.
  function narrowed(layout, data, width) {
    var names = data.filter(function (trace) {
      return trace.showlegend !== false && trace.visible !== false && trace.name;
    }).map(function (trace) { return trace.name; });
    var inARow = names.reduce(function (sum, name) { return sum + 45 + 6 * name.length; }, 0); // pixels, about
    var legend = names.length ? 16 + 19 * Math.ceil(1.25 * inARow / (width - 80)) : 0;
    var sliders = (layout.sliders || []).map(function (slider) { return 90 + ((slider.pad || {}).t || 0); });
    var margin = Object.assign({ t: 50, b: 60, l: 60 }, layout.margin, { r: 10 });
    margin.b = Math.max.apply(null, [margin.b].concat(sliders)) + legend;
    return Object.assign({}, layout, {
      height: (layout.height || 450) + legend,
      margin: margin,
      dragmode: false, // a finger scrolls the page
      font: Object.assign({}, layout.font, { size: 11 }),
      legend: Object.assign({}, layout.legend, {
        orientation: "h", x: 0, xanchor: "left", y: 0, yref: "container", yanchor: "bottom", font: { size: 11 }
      })
    });
  }

  function draw(box) {
    var figure = JSON.parse(box.querySelector("script").textContent);
    var layout = Object.assign({}, figure.layout, { autosize: true });
    var own = CONFIG;
    delete layout.width; // as wide as the page
    if (box.clientWidth < NARROW) {
      layout = narrowed(layout, figure.data, box.clientWidth);
      own = Object.assign({}, CONFIG, { displayModeBar: false });
      box.style.height = layout.height + "px";
    }
    plotly().then(function (Plotly) {
      box.replaceChildren();
      return Plotly.newPlot(box, {
        data: figure.data, layout: layout, frames: figure.frames,
        config: Object.assign({}, figure.config, own)
      });
    }).then(function () { box.dataset.drawn = "yes"; }).catch(function (error) {
      box.textContent = "This figure could not be drawn: " + error.message;
    });
  }

  // A table that is wider than a phone becomes cards there, a row each, in which every cell names its column.
  function cards() {
    document.querySelectorAll(".bd-article table").forEach(function (table) {
      var names = [].map.call(table.querySelectorAll("thead th"), function (cell) { return cell.innerText.trim(); });
      table.classList.remove("afd-cards");
      if (!names.length || window.innerWidth >= NARROW) { return; }
      if (table.offsetWidth <= table.parentElement.clientWidth + 2) { return; }
      table.querySelectorAll("tbody tr").forEach(function (row) {
        [].forEach.call(row.cells, function (cell, column) {
          cell.dataset.column = names[column] || "";
          cell.classList.toggle("afd-long", cell.innerText.length > 22);
        });
      });
      table.classList.add("afd-cards");
    });
  }

  document.addEventListener("DOMContentLoaded", function () {
    cards();
    window.addEventListener("resize", cards);
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
